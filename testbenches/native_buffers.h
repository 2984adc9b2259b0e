// SPDX-License-Identifier: Apache-2.0
// The buffers behind the layers: counts of what each of them did in each of its states, and a source and a sink that
// bring every buffer into every state.

#ifndef FXSIM_NATIVE_BUFFERS_H
#define FXSIM_NATIVE_BUFFERS_H

#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>

class Buffer {  // counts cycles by what happened and by the number of beats that the buffer held
  public:
    Buffer(uint32_t depth, bool steps)
        : depth(depth), steps(steps), held(depth + 1), pushed(depth + 1), popped(depth + 1), both(depth + 1) {}

    // Look at a cycle; false if the buffer holds more beats than it has room for, or gets one when it is full.
    bool see(uint32_t now, bool push, bool pop) {
        moved = push || pop || now != filled;
        filled = now;
        pushes = push;
        pops = pop;
        if (now > depth || (push && now == depth)) return false;
        ++(push ? (pop ? both : pushed) : (pop ? popped : held))[now];
        return true;
    }
    void print(size_t number) const {
        const auto line = [&](const char* what, uint32_t beats, uint64_t count) {
            std::printf("buffer%zu_%s_%u %llu\n", number, what, beats, static_cast<unsigned long long>(count));
        };
        for (uint32_t beats = 0; beats <= depth; ++beats) {
            line("hold", beats, held[beats]);
            line("push", beats, pushed[beats]);
            line("pop", beats, popped[beats]);
            line("both", beats, both[beats]);
        }
    }

    const uint32_t depth;
    const bool steps;  // its beats are steps of a sequence, not whole results
    uint32_t filled = 0;
    bool pushes = false, pops = false, moved = false;
    std::vector<uint64_t> held, pushed, popped, both;
};

// Fills the design from its output on, and takes each buffer, at each number of beats, through all that it can do: hold
// its beats, get one, give one, do both at once.
//
// The sink is closed and the source stops, until nothing has moved for so long that nothing is under way. Then follows an
// act:
//   load  all beats of a sequence (or of a vector) but the last, which alone makes something happen;
//   fire  the last beat, and note when it has got to each buffer;
//   open  the sink for one beat, and note when each buffer gives one, for the layers go on one after another;
//   meet  fire and open, so that a buffer gets a beat and gives one in the same cycle, by what was noted.
class Fill {
  public:
    // `beats` of a sequence, `group`: of a vector; `patience`: cycles after which nothing is under way
    Fill(std::vector<Buffer>& buffers, uint64_t beats, uint64_t group, uint64_t patience)
        : buffers_(buffers), beats_(beats), fine_(group), group_(beats), patience_(static_cast<int64_t>(patience)),
          opening_(buffers.size(), -1), noted_(buffers.size(), -1) {}

    bool over() const { return over_; }
    bool may_offer(uint64_t sent) const { return over_ || sent < allowed_; }
    bool ready() const { return over_ || open_ || draining_; }

    // Before a cycle, when `sent` beats have been taken; `offered`: one more stands there.
    void decide(int64_t cycle, uint64_t sent, bool offered) {
        if (over_) return;
        if (cycle == fire_at_) allowed_ = sent + 1;
        if (cycle == open_at_) open_ = true;
        if (cycle <= fire_at_ || cycle <= open_at_ || cycle - moved_ <= patience_ + linger_) return;
        // what is held does not always stand for an even, or an odd, number of cycles
        linger_ = static_cast<int64_t>((++acts_ * 2654435761u) >> 16 & 7);
        choose(cycle, sent, offered);
        moved_ = cycle;
    }

    // In a cycle in which the input, or the output, moves a beat.
    void observe(int64_t cycle, bool taken, bool given) {
        if (over_) return;
        if (taken) fired_ = cycle;
        if (taken || given) moved_ = cycle;
        for (size_t k = 0; k < buffers_.size(); ++k) {
            const Buffer& buffer = buffers_[k];
            if (buffer.moved) moved_ = cycle;
            if (buffer.pushes && !buffer.pops && fired_ >= 0) pushes_.push_back({k, buffer.filled, cycle - fired_});
            if (buffer.pops && open_at_ >= 0 && cycle >= open_at_ && noted_[k] < 0) noted_[k] = cycle - open_at_;
        }
        if (given) open_ = false;
    }

  private:
    struct Push {
        size_t buffer;
        uint32_t filled;
        int64_t delay;  // from the edge that took the fired beat
    };
    using State = std::vector<uint64_t>;
    static constexpr int kTries = 4;

    // Whether it is left to see that the buffer of a push gives a beat in the same cycle.
    bool wanted(const Push& push) {
        const Buffer& buffer = buffers_[push.buffer];
        if (!push.filled || push.filled == buffer.depth || buffer.both[push.filled]) return false;
        return tries_[{push.buffer, push.filled, 1}] < kTries;
    }

    void choose(int64_t cycle, uint64_t sent, bool offered) {
        bool again = false;  // go back to the state in which the last beat was fired
        if (!fired_from_.empty()) {
            for (const Push& push : pushes_) again = again || wanted(push);
            ways_.emplace(fired_from_, pushes_);
            fired_from_.clear();
        }
        for (size_t k = 0; k < buffers_.size(); ++k) {
            if (noted_[k] >= 0) opening_[k] = noted_[k];
            noted_[k] = -1;
        }
        open_at_ = fire_at_ = fired_ = -1;
        open_ = draining_ = false;
        pushes_.clear();
        State state;
        bool results_full = true;  // all buffers of whole results
        bool steps = false, results = false;
        for (const Buffer& buffer : buffers_) {
            state.push_back(buffer.filled);
            steps = steps || buffer.steps;
            results = results || !buffer.steps;
            if (!buffer.steps && buffer.filled < buffer.depth) results_full = false;
        }
        if (results) state.push_back(sent % beats_);  // how much of it a layer that joins steps has taken
        size_t top = 0;  // the first buffer on a beat's way that holds any; those behind it are full
        while (top < buffers_.size() && !buffers_[top].filled) ++top;
        if (top < buffers_.size()) {
            const Buffer& buffer = buffers_[top];
            int& tries = tries_[{top, buffer.filled, 0}];
            if (again || ((!buffer.popped[buffer.filled] || opening_[top] < 0) && tries++ < kTries)) {
                open_at_ = cycle;
                open_ = true;
                return;
            }
        }
        if (offered) {  // and not taken: there is no room left
            // buffers of steps are filled step by step, from an empty design on
            over_ = group_ == fine_ || !steps;
            group_ = fine_;
            draining_ = !over_;
            return;
        }
        uint64_t last = sent - sent % group_ + group_ - 1;
        // what is left of a sequence goes to the layer that has room for its result
        if (group_ != beats_ && !results_full && sent % beats_) last = sent - sent % beats_ + beats_;
        if (sent < last) {
            allowed_ = last;
            return;
        }
        const auto way = ways_.find(state);
        if (way != ways_.end()) {
            for (const Push& push : way->second) {
                const int64_t opening = opening_[push.buffer];
                if (opening < 0 || !wanted(push)) continue;
                ++tries_[{push.buffer, push.filled, 1}];
                fire_at_ = cycle + (opening > push.delay ? opening - push.delay : 0);
                open_at_ = fire_at_ + push.delay - opening;
                if (fire_at_ == cycle) allowed_ = sent + 1;
                if (open_at_ == cycle) open_ = true;
                return;
            }
        } else {
            fired_from_ = state;
        }
        fire_at_ = cycle;
        allowed_ = sent + 1;
    }

    std::vector<Buffer>& buffers_;
    const uint64_t beats_, fine_;
    uint64_t group_;  // beats that are loaded, with the one that is fired
    const int64_t patience_;
    std::vector<int64_t> opening_, noted_;  // cycles from the sink's opening until each buffer gives a beat
    std::map<State, std::vector<Push>> ways_;  // what a beat does that is fired in a state
    std::map<State, int> tries_;
    std::vector<Push> pushes_;
    State fired_from_;
    uint64_t allowed_ = 0;
    uint64_t acts_ = 0;
    int64_t linger_ = 0, moved_ = 0, fire_at_ = -1, open_at_ = -1, fired_ = -1;
    bool open_ = false, draining_ = false, over_ = false;
};

#endif
