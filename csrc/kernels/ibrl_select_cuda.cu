#include "kernels/choose_proposal.cuh"
#include "kernels/ibrl_select.h"

namespace ibrl {
namespace {

struct Entry {
    template <typename Q, typename V>
    __device__ static void run(const IbrlSelectArgs& args, int64_t i) {
        ibrl_select_one<Q, V>(args, i);
    }
};

}  // namespace

void ibrl_select_cuda(const IbrlSelectArgs& args, int device, void* stream) {
    launch_for_proposals<Entry>("ibrl_select", args, device, stream);
}

}  // namespace ibrl
