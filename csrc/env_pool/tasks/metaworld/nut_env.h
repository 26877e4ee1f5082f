// A wrench with a ring at its end and a peg: the ring goes on or comes off.
#pragma once

#include <algorithm>

#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {

class NutEnv : public SawyerEnv {
  public:
    NutEnv(std::shared_ptr<const mjModel> base, const SawyerSpec& spec, const Settled* settled)
        : SawyerEnv(std::move(base), spec, settled),
          nut_(body("RoundNut")),
          peg_(body("peg")),
          handle_site_(site("RoundNut-8")),
          center_site_(site("RoundNut")),
          top_site_(site("pegTop")) {}

  protected:
    static constexpr double kHandleHalfLength = 0.01;  // m

    bool accepts(const double* rv) const override { return norm2(rv[0] - rv[3], rv[1] - rv[4]) >= 0.1; }

    void observe_objects(double* frame) const override {
        std::copy_n(site_position(handle_site_), 3, frame + 4);
        std::copy_n(data_->xquat + 4 * nut_, 4, frame + 7);
    }

    // Of the wrench, in [0, 1].
    static double flatness(const double* obs) {
        return orientation_match(obs + 7, {0.707, 0.0, 0.0, 0.707}, 0.4);
    }

    void list_attributes(std::vector<Attribute>* list) override {
        list->push_back({"obj_init_angle", &obj_init_angle_, 1, true});
    }

    int nut_, peg_, handle_site_, center_site_, top_site_;

  private:
    double obj_init_angle_ = 0.3;
};

}  // namespace ibrl::metaworld
