#include "env_pool/frame_stack.h"

#include <algorithm>

namespace ibrl {

FrameStack::FrameStack(int num_envs, int depth, std::size_t frame_bytes, std::size_t run_bytes)
    : depth_(depth),
      frame_bytes_(frame_bytes),
      run_bytes_(run_bytes),
      frames_(static_cast<std::size_t>(num_envs) * depth * frame_bytes),
      newest_(num_envs, 0) {}

void FrameStack::push(int env, bool is_first) {
    newest_[env] = (newest_[env] + depth_ - 1) % depth_;
    if (!is_first) return;
    const std::uint8_t* newest = frame(env, newest_[env]);
    for (int age = 1; age < depth_; ++age) {
        std::copy_n(newest, frame_bytes_, frame(env, (newest_[env] + age) % depth_));
    }
}

void FrameStack::write(int env, std::uint8_t* rows) const {
    std::uint8_t* row = rows + env * row_bytes();
    for (int age = 0; age < depth_; ++age) {
        const std::uint8_t* from = frame(env, (newest_[env] + age) % depth_);
        std::uint8_t* to = row + age * run_bytes_;
        for (std::size_t done = 0; done < frame_bytes_; done += run_bytes_, to += depth_ * run_bytes_) {
            std::copy_n(from + done, run_bytes_, to);
        }
    }
}

void FrameStack::get(int env, std::uint8_t* frames) const {
    for (int age = 0; age < depth_; ++age) {
        std::copy_n(frame(env, (newest_[env] + age) % depth_), frame_bytes_, frames + age * frame_bytes_);
    }
}

void FrameStack::set(int env, const std::uint8_t* frames) {
    newest_[env] = 0;
    std::copy_n(frames, row_bytes(), frame(env, 0));
}

}  // namespace ibrl
