// Pull a mug from under a coffee machine. Source: metaworld 3.1.1, SawyerCoffeePullEnvV3.
#include "env_pool/tasks/metaworld/coffee_mug.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class CoffeePull final : public CoffeeMug {
  public:
    using CoffeeMug::CoffeeMug;

  protected:
    const double* spout(const double* rv) const override { return rv; }

    void list_attributes(std::vector<Attribute>* list) override {
        CoffeeMug::list_attributes(list);
        list->push_back({"maxPullDist", &max_distance_, 1, true});
    }
};

}  // namespace

SawyerTask coffee_pull_task() {
    const SawyerSpec spec = coffee_mug_spec(kMugSpoutLow, kMugSpoutHigh, kMugFrontLow, kMugFrontHigh);
    return {spec, true, make_sawyer<CoffeePull>};
}

}  // namespace ibrl::metaworld
