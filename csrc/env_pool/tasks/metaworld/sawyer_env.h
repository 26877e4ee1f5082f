// An episode of a Meta-World v3 task, observed in 39 numbers. Tasks derive from SawyerEnv.
#pragma once

#include <array>
#include <memory>
#include <vector>

#include "env_pool/tasks/metaworld/gripper.h"
#include "env_pool/tasks/metaworld/settling.h"

namespace ibrl::metaworld {

class SawyerEnv : public Gripper {
  public:
    SawyerEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled);

    std::vector<VectorInfo> vectors() const override { return {{"state", kObservationDim}}; }
    const double* vector(int) const override { return observation_.data(); }
    int start_dim() const override { return static_cast<int>(spec_.random_low.size()); }
    void reset(bool repeats_start) override;
    void seed(const Pcg64::Words& words) override { rng_.set_words(words); }
    bool accepts_start(const double* start) const override { return accepts(start); }
    void set_start(const double* start) override;
    bool step(const float* action, bool want_reward, Evaluation* evaluation) override;
    StateEntries get_state() const override;
    void set_state(const StateEntries& entries) override;
    bool plan_reset(bool repeats_start) override;
    bool prepare_reset() override { return twin_->prepare(); }

    // Another environment of the same task, to settle the next scene for this one.
    void set_twin(std::unique_ptr<SawyerEnv> twin) {
        twin_ = std::make_unique<SettlingTwin>(std::move(twin));
    }

  protected:
    // ---- what a task says ----
    virtual bool accepts(const double* rand_vec) const = 0;
    virtual void edit_model(const double* rand_vec) = 0;    // bodies and sites that the draw moves
    virtual void place(const double* rand_vec) = 0;         // objects and goal, after the hand has settled
    virtual void observe_objects(double* frame) const = 0;  // fills frame[4..17], zero before
    virtual Evaluation evaluate(const double* obs, const float* action, bool want_reward) const = 0;
    virtual void list_attributes(std::vector<Attribute>* list) = 0;  // task state beyond the common part

    // The goal, m: tasks that watch a moving place keep no target_pos_.
    virtual const double* goal_position() const { return target_pos_.data(); }

    void compute_frame(double* frame) const;  // [kFrameDim] from the positions that the last pass found

    // Puts the scene's first joint, a free object, at obj_init_pos_, at rest.
    void put_object() { set_positions(kArmJoints, obj_init_pos_.data(), 3, kArmJoints, 6); }

    Vec3 target_pos_{};
    bool start_is_kept_ = true;  // false where the published obj_init_pos is a window on a body that moves

  private:
    friend class SettlingTwin;
    void draw();
    void settle();
    bool is_drawable() const;  // given random vectors may lie outside the task's distribution
    void copy_task(const SawyerEnv& other);
    void list_all_attributes(std::vector<Attribute>* list) const;

    const Settled* settled_;
    std::unique_ptr<SettlingTwin> twin_;
    Pcg64 rng_;
    std::vector<double> rand_vec_;
    std::array<double, kObservationDim> observation_{};
    std::array<double, kFrameDim> previous_frame_{};
    std::int64_t path_length_ = 0;
};

}  // namespace ibrl::metaworld
