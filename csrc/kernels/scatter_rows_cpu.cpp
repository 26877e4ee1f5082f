#include <cstring>

#include "kernels/scatter_rows.h"

namespace ibrl {

// A step of some environments: too little for a second thread.
int64_t scatter_rows_cpu(const ScatterRowsArgs& args, int) {
    for (int64_t s = 0; s < args.count; ++s) {
        const RowScatter& scatter = args.scatters[s];
        for (int64_t i = 0; i < scatter.count; ++i)
            if (scatter.rows[i] < 0 || scatter.rows[i] >= scatter.num_rows) return i;
    }
    for (int64_t s = 0; s < args.count; ++s) {
        const RowScatter& scatter = args.scatters[s];
        // rows without bytes may have no address, which memcpy must not be given
        for (int64_t i = 0; i < scatter.count && scatter.row_bytes > 0; ++i)
            std::memcpy(scatter.target + scatter.rows[i] * scatter.row_bytes,
                        scatter.values + i * scatter.row_bytes, scatter.row_bytes);
    }
    return -1;
}

}  // namespace ibrl
