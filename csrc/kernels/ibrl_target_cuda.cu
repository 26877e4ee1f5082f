#include "kernels/choose_proposal.cuh"
#include "kernels/ibrl_target.h"

namespace ibrl {
namespace {

struct Entry {
    template <typename Q, typename V>
    __device__ static void run(const IbrlTargetArgs& args, int64_t i) {
        ibrl_target_one<Q, V>(args, i);
    }
};

}  // namespace

void ibrl_target_cuda(const IbrlTargetArgs& args, int device, void* stream) {
    launch_for_proposals<Entry>("ibrl_target", args, device, stream);
}

}  // namespace ibrl
