// A sliding window in a frame that a draw moves: what opening and closing it share.
#pragma once

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class Window : public SawyerEnv {
  public:
    static SawyerSpec make_spec(const Vec3& frame_low, const Vec3& frame_high);

  protected:
    struct Parts {
        const char* handle;  // the site that is observed
        double start, goal;  // of the slide, m
        // How reaching the handle is rewarded.
        double (*reach_tolerance)(double x, double lower, double upper, double margin);
    };

    Window(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled,
           const Parts& parts);

    // Where the handle's way to the goal starts, m.
    virtual const Vec3& way_start() const = 0;

    bool accepts(const double*) const override { return true; }
    void edit_model(const double* rv) override;
    void place(const double* rv) override;
    void observe_objects(double* frame) const override;
    Evaluation evaluate(const double* obs, const float*, bool want_reward) const override;
    void list_attributes(std::vector<Attribute>* list) override;

    Vec3 handle_init_pos_{};

  private:
    Parts parts_;
    int window_, handle_, goal_, slide_;
    std::array<double, kFrameDim> settled_frame_{};
    double max_pull_distance_ = 0.2, obj_init_angle_ = 0.3, target_reward_ = 1000 * 0.2 + 1000 * 2;
};

}  // namespace ibrl::metaworld
