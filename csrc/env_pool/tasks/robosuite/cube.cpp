#include "env_pool/tasks/robosuite/cube.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "env_pool/mujoco_model.h"

namespace ibrl::robosuite {
namespace {

constexpr double kDensity = 1000.0;  // kg / m^3

void copy_array(const mjtNum* from, int rows, int columns, std::vector<double>* to) {
    to->assign(from, from + static_cast<std::size_t>(rows) * columns);
}

}  // namespace

Cube::Cube(mjModel* model, mjModel* unseen) : views_{model, unseen} {
    body_ = find_id(model, mjOBJ_BODY, "cube_main");
    dof_ = model->body_dofadr[body_];
    for (int geom = 0; geom < model->ngeom; ++geom) {
        if (model->geom_bodyid[geom] == body_) geoms_.push_back(geom);
    }
    copy_array(model->geom_size, model->ngeom, 3, &geom_size_);
    copy_array(model->geom_aabb, model->ngeom, 6, &geom_aabb_);
    copy_array(model->geom_rbound, model->ngeom, 1, &geom_rbound_);
    copy_array(model->bvh_aabb, model->nbvh, 6, &bvh_aabb_);
    copy_array(model->body_mass, model->nbody, 1, &body_mass_);
    copy_array(model->body_inertia, model->nbody, 3, &body_inertia_);
    copy_array(model->body_subtreemass, model->nbody, 1, &body_subtreemass_);
    copy_array(model->body_invweight0, model->nbody, 2, &body_invweight0_);
    copy_array(model->dof_invweight0, model->nv, 1, &dof_invweight0_);
    copy_array(model->dof_M0, model->nv, 1, &dof_M0_);
    for (mjModel* view : views_) share_arrays(view);
}

void Cube::share_arrays(mjModel* view) {
    view->geom_size = geom_size_.data();
    view->geom_aabb = geom_aabb_.data();
    view->geom_rbound = geom_rbound_.data();
    view->bvh_aabb = bvh_aabb_.data();
    view->body_mass = body_mass_.data();
    view->body_inertia = body_inertia_.data();
    view->body_subtreemass = body_subtreemass_.data();
    view->body_invweight0 = body_invweight0_.data();
    view->dof_invweight0 = dof_invweight0_.data();
    view->dof_M0 = dof_M0_.data();
}

void Cube::resize(const Vector<3>& half_size) {
    if (!std::all_of(half_size.begin(), half_size.end(), [](double x) { return x >= 0.001 && x <= 1.0; })) {
        throw std::invalid_argument("cube_size: expected half sizes from 0.001 to 1 m");
    }
    const double a = half_size[0], b = half_size[1], c = half_size[2];
    const double radius = std::sqrt(a * a + b * b + c * c);
    const auto set_bounds = [&half_size](double* aabb) {
        std::copy(half_size.begin(), half_size.end(), aabb + 3);
    };
    for (const int geom : geoms_) {
        std::copy(half_size.begin(), half_size.end(), geom_size_.begin() + 3 * geom);
        set_bounds(geom_aabb_.data() + 6 * geom);
        geom_rbound_[geom] = radius;
    }
    const mjModel* model = views_[0];
    for (int node = 0; node < model->body_bvhnum[body_]; ++node) {
        set_bounds(bvh_aabb_.data() + 6 * (model->body_bvhadr[body_] + node));
    }

    // A box of uniform density, about its axes.
    const double mass = kDensity * (8.0 * a * b * c);
    const double inertia[3] = {mass * (b * b + c * c) / 3.0, mass * (a * a + c * c) / 3.0,
                               mass * (a * a + b * b) / 3.0};
    body_mass_[body_] = mass;
    std::copy_n(inertia, 3, body_inertia_.begin() + 3 * body_);

    // What MuJoCo's compiler derives from them: of a body that moves freely, alone.
    body_subtreemass_ = body_mass_;
    for (int id = model->nbody - 1; id > 0; --id) {
        body_subtreemass_[model->body_parentid[id]] += body_subtreemass_[id];
    }
    const double turning = (1.0 / inertia[0] + 1.0 / inertia[1] + 1.0 / inertia[2]) / 3.0;
    body_invweight0_[2 * body_] = 1.0 / mass;
    body_invweight0_[2 * body_ + 1] = turning;
    double mean = 0.0;
    for (int i = 0; i < 3; ++i) {
        dof_invweight0_[dof_ + i] = 1.0 / mass;
        dof_invweight0_[dof_ + 3 + i] = turning;
        dof_M0_[dof_ + i] = mass;
        dof_M0_[dof_ + 3 + i] = inertia[i];
    }
    for (const double value : dof_M0_) mean += value;
    for (mjModel* view : views_) view->stat.meaninertia = mean / model->nv;
}

}  // namespace ibrl::robosuite
