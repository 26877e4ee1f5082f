// The latest frames of every environment under one observation key, newest first; an episode's first frame
// stands in for those before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ibrl {

class FrameStack {
  public:
    // Rows hold the frames one after the other, in runs of run_bytes: a whole frame, or one pixel of pictures
    // whose channels come last, so that those channels are what is stacked.
    FrameStack(int num_envs, int depth, std::size_t frame_bytes, std::size_t run_bytes);

    std::size_t frame_bytes() const { return frame_bytes_; }
    std::size_t row_bytes() const { return depth_ * frame_bytes_; }

    // Memory for an environment's next frame [frame_bytes]; push then makes it the newest.
    std::uint8_t* next(int env) { return frame(env, (newest_[env] + depth_ - 1) % depth_); }
    void push(int env, bool is_first);

    // Writes an environment's row [row_bytes] into rows [num_envs, row_bytes].
    void write(int env, std::uint8_t* rows) const;

    // An environment's frames [depth, frame_bytes], newest first.
    void get(int env, std::uint8_t* frames) const;
    void set(int env, const std::uint8_t* frames);

  private:
    std::uint8_t* frame(int env, int index) {
        return frames_.data() + (static_cast<std::size_t>(env) * depth_ + index) * frame_bytes_;
    }
    const std::uint8_t* frame(int env, int index) const {
        return frames_.data() + (static_cast<std::size_t>(env) * depth_ + index) * frame_bytes_;
    }

    int depth_;
    std::size_t frame_bytes_, run_bytes_;
    std::vector<std::uint8_t> frames_;  // [num_envs, depth, frame_bytes], a ring that runs backwards
    std::vector<int> newest_;           // [num_envs]
};

}  // namespace ibrl
