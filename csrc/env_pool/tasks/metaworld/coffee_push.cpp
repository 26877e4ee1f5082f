// Push a mug under a coffee machine. Source: metaworld 3.1.1, SawyerCoffeePushEnvV3.
#include "env_pool/tasks/metaworld/coffee_mug.h"
#include "env_pool/tasks/metaworld/tasks.h"

namespace ibrl::metaworld {
namespace {

class CoffeePush final : public CoffeeMug {
  public:
    using CoffeeMug::CoffeeMug;

  protected:
    const double* spout(const double* rv) const override { return rv + 3; }

    void list_attributes(std::vector<Attribute>* list) override {
        CoffeeMug::list_attributes(list);
        list->push_back({"maxPushDist", &max_distance_, 1, true});
    }
};

}  // namespace

SawyerTask coffee_push_task() {
    const SawyerSpec spec = coffee_mug_spec(kMugFrontLow, kMugFrontHigh, kMugSpoutLow, kMugSpoutHigh);
    return {spec, true, make_sawyer<CoffeePush>};
}

}  // namespace ibrl::metaworld
