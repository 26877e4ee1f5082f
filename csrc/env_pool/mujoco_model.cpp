#include "env_pool/mujoco_model.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <stdexcept>

// Exported by libmujoco for language bindings: handlers of the calling thread alone.
extern "C" {
void (*_mjPRIVATE__get_tls_error_fn(void))(const char*);
void _mjPRIVATE__set_tls_error_fn(void (*handler)(const char*));
void (*_mjPRIVATE__get_tls_warning_fn(void))(const char*);
void _mjPRIVATE__set_tls_warning_fn(void (*handler)(const char*));
}

namespace ibrl {
namespace {

[[noreturn]] void throw_error(const char* message) {
    if (std::strstr(message, "allocate memory") != nullptr) throw std::bad_alloc();
    throw std::runtime_error(std::string("MuJoCo: ") + message);
}

void ignore_warning(const char*) {}

}  // namespace

std::shared_ptr<mjModel> load_model(const std::string& path) {
    MujocoErrorScope errors;
    char message[1024] = "";
    const bool is_compiled = path.ends_with(".mjb");
    mjModel* model = is_compiled ? mj_loadModel(path.c_str(), nullptr)
                                 : mj_loadXML(path.c_str(), nullptr, message, sizeof(message));
    if (model == nullptr) {
        throw std::runtime_error("model: could not load " + path + ": " + message);
    }
    return {model, mj_deleteModel};
}

ModelView::ModelView(std::shared_ptr<const mjModel> base)
    : base_(std::move(base)),
      body_pos_(base_->body_pos, base_->body_pos + 3 * base_->nbody),
      site_pos_(base_->site_pos, base_->site_pos + 3 * base_->nsite),
      view_(*base_) {
    view_.body_pos = body_pos_.data();
    view_.site_pos = site_pos_.data();

    // Every collision pass clears a flag for each node of every bounding volume tree, those of pictures'
    // meshes too. Bodies' trees come first: the pass need not reach further.
    int body_nodes = 0;
    for (int body = 0; body < view_.nbody; ++body) {
        body_nodes = std::max(body_nodes, view_.body_bvhadr[body] + view_.body_bvhnum[body]);
    }
    view_.nbvh = body_nodes;

    // A geom in its body's own frame costs a copy instead of a rotation. Sites may carry forces: then they
    // stay.
    unseen_ = view_;
    unseen_.ncam = unseen_.nlight = 0;
    unseen_geom_frames_.assign(view_.geom_sameframe, view_.geom_sameframe + view_.ngeom);
    for (int geom = 0; geom < view_.ngeom; ++geom) {
        if (view_.geom_contype[geom] == 0 && view_.geom_conaffinity[geom] == 0) {
            unseen_geom_frames_[geom] = mjSAMEFRAME_BODY;
        }
    }
    unseen_.geom_sameframe = unseen_geom_frames_.data();
    bool sites_are_seen_only = view_.nsensor == 0 && view_.ntendon == 0 && view_.npair == 0;
    for (int i = 0; i < view_.neq; ++i) {
        sites_are_seen_only = sites_are_seen_only && view_.eq_objtype[i] != mjOBJ_SITE;
    }
    for (int i = 0; i < view_.nu; ++i) {
        const int kind = view_.actuator_trntype[i];
        sites_are_seen_only = sites_are_seen_only && kind != mjTRN_SITE && kind != mjTRN_SLIDERCRANK;
    }
    if (sites_are_seen_only) unseen_.nsite = 0;
}

int find_id(const mjModel* model, mjtObj type, const std::string& name) {
    const int id = mj_name2id(model, type, name.c_str());
    if (id < 0) {
        throw std::invalid_argument("model: expected an object named '" + name + "', found none");
    }
    return id;
}

MujocoErrorScope::MujocoErrorScope()
    : saved_error_(_mjPRIVATE__get_tls_error_fn()), saved_warning_(_mjPRIVATE__get_tls_warning_fn()) {
    _mjPRIVATE__set_tls_error_fn(throw_error);
    _mjPRIVATE__set_tls_warning_fn(ignore_warning);
}

MujocoErrorScope::~MujocoErrorScope() {
    _mjPRIVATE__set_tls_error_fn(saved_error_);
    _mjPRIVATE__set_tls_warning_fn(saved_warning_);
}

}  // namespace ibrl
