// MuJoCo models shared by many environments, and the scope in which MuJoCo's errors become exceptions.
#pragma once

#include <mujoco/mujoco.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace ibrl {

// A model from its XML, or compiled before (.mjb); freed with its last user.
std::shared_ptr<mjModel> load_model(const std::string& path);

// One environment's view of a shared model: everything is shared except the arrays that tasks edit at a
// reset.
class ModelView {
  public:
    explicit ModelView(std::shared_ptr<const mjModel> base);
    ModelView(const ModelView&) = delete;
    ModelView& operator=(const ModelView&) = delete;

    const mjModel* get() const { return &view_; }

    // The same physics for steps after which nobody looks: positions of what is only seen (geoms that collide
    // with nothing, sites, cameras, lights) are not computed.
    const mjModel* unseen() const { return &unseen_; }

    bool has_edits_of(const ModelView& other) const {
        return body_pos_ == other.body_pos_ && site_pos_ == other.site_pos_;
    }
    void copy_edits(const ModelView& other) {
        std::copy(other.body_pos_.begin(), other.body_pos_.end(), body_pos_.begin());
        std::copy(other.site_pos_.begin(), other.site_pos_.end(), site_pos_.begin());
    }
    std::vector<double>& body_pos() { return body_pos_; }  // [nbody * 3], m
    std::vector<double>& site_pos() { return site_pos_; }  // [nsite * 3], m
    const std::vector<double>& body_pos() const { return body_pos_; }
    const std::vector<double>& site_pos() const { return site_pos_; }

  private:
    std::shared_ptr<const mjModel> base_;
    std::vector<double> body_pos_;
    std::vector<double> site_pos_;
    std::vector<mjtByte> unseen_geom_frames_;
    mjModel view_, unseen_;
};

// Index of a named object; std::invalid_argument lists nothing found.
int find_id(const mjModel* model, mjtObj type, const std::string& name);

// While one lives on a thread, MuJoCo errors there throw std::runtime_error and its warnings are only counted
// in mjData.
class MujocoErrorScope {
  public:
    MujocoErrorScope();
    ~MujocoErrorScope();
    MujocoErrorScope(const MujocoErrorScope&) = delete;
    MujocoErrorScope& operator=(const MujocoErrorScope&) = delete;

  private:
    void (*saved_error_)(const char*);
    void (*saved_warning_)(const char*);
};

struct DataDeleter {
    void operator()(mjData* data) const { mj_deleteData(data); }
};
using DataPtr = std::unique_ptr<mjData, DataDeleter>;

}  // namespace ibrl
