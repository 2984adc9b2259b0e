// SPDX-License-Identifier: Apache-2.0
// Native AXI-Stream bench. All that depends on the design stands in the generated fxsim_dut.h:
//   FX_CLOCK FX_RESET FX_ERROR FX_S(port) FX_M(port)   the ports
//   FX_IN_BITS FX_IN_BEATS FX_OUT_WORDS FX_OUT_BEATS   the shape of the streams
//   FX_COUNTED                                         1: a sequence ends with its last beat, TLAST ends a packet
//   FX_TAPS                                            FX_TAP(valid, data, words) for each tap, or empty
//   FX_BUFFERS FX_GROUP                                FX_BUFFER(push, pop, filled, depth, steps) for each buffer, or
//                                                      empty; input beats of a vector
// Files hold beats as 32-bit little-endian words. They are mapped, not read, so memory stays flat.

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Vdut.h"
#include "fxsim_dut.h"
#include "native_buffers.h"
#include "verilated.h"
#ifdef FX_COVERAGE
#include "verilated_cov.h"
#endif
#ifdef FX_WAVES
#include "verilated_fst_c.h"
#endif

namespace {

constexpr uint32_t kInWords = (FX_IN_BITS + 31) / 32;
constexpr uint32_t kOutWords = FX_OUT_WORDS;
constexpr uint32_t kResetCycles = 16;

[[noreturn]] void die(const std::string& message) {
    std::fprintf(stderr, "error %s\n", message.c_str());
    std::exit(2);
}

// A Verilator port is an unsigned integer up to 64 bits and an array of words above.
template <typename T>
void put(T& port, const uint32_t* words) {
    uint64_t value = words[0];
    if (sizeof(T) > 4) value |= uint64_t(words[1]) << 32;
    port = static_cast<T>(value);
}
template <std::size_t N>
void put(VlWide<N>& port, const uint32_t* words) {
    std::memcpy(port.data(), words, 4 * N);
}
template <typename T>
void get(const T& port, uint32_t* words) {
    words[0] = static_cast<uint32_t>(port);
    if (sizeof(T) > 4) words[1] = static_cast<uint32_t>(static_cast<uint64_t>(port) >> 32);
}
template <std::size_t N>
void get(const VlWide<N>& port, uint32_t* words) {
    std::memcpy(words, port.data(), 4 * N);
}

class Random {  // xorshift64*
  public:
    explicit Random(uint64_t seed) : state_(seed * 2654435769u + 88172645463325252u) {}
    uint32_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return static_cast<uint32_t>((state_ * 2685821657736338717u) >> 32);
    }
    bool chance(uint32_t per_65536) { return per_65536 && (next() & 0xffff) < per_65536; }

  private:
    uint64_t state_;
};

class Stall {  // single cycles by chance, and bursts of up to `longest` cycles for about a fifth of the time
  public:
    Stall(Random& random, uint32_t per_65536, uint32_t longest)
        : random_(random), per_65536_(per_65536), longest_(longest) {}
    bool now() {
        if (!per_65536_) return false;
        if (burst_) {
            --burst_;
            return true;
        }
        if (random_.next() % (2 * longest_) == 0) burst_ = random_.next() % longest_;
        return random_.chance(per_65536_);
    }

  private:
    Random& random_;
    const uint32_t per_65536_, longest_;
    uint32_t burst_ = 0;
};

class Mapped {  // a file of words, read only; empty without a path
  public:
    explicit Mapped(const std::string& path) {
        if (path.empty()) return;
        const int file = ::open(path.c_str(), O_RDONLY);
        struct stat info;
        if (file < 0 || ::fstat(file, &info) != 0) die("cannot open " + path);
        void* memory = ::mmap(nullptr, static_cast<size_t>(info.st_size), PROT_READ, MAP_PRIVATE, file, 0);
        if (memory == MAP_FAILED) die("cannot map " + path);
        ::close(file);
        words_ = static_cast<const uint32_t*>(memory);
    }
    explicit operator bool() const { return words_ != nullptr; }
    const uint32_t* at(uint64_t word) const { return words_ + word; }

  private:
    const uint32_t* words_ = nullptr;
};

long anonymous_kb() {  // memory of the process without mapped files; 0 where the system does not tell
    long found = 0;
    if (std::FILE* file = std::fopen("/proc/self/status", "r")) {
        char line[256];
        while (std::fgets(line, sizeof line, file) && !std::sscanf(line, "RssAnon: %ld", &found)) {
        }
        std::fclose(file);
    }
    return found;
}

class Writer {
  public:
    explicit Writer(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {
        if (!file_) die("cannot write " + path);
    }
    void write(const void* data, size_t bytes) {
        if (std::fwrite(data, 1, bytes, file_) != bytes) die("cannot write, disk full?");
    }
    ~Writer() { std::fclose(file_); }

  private:
    std::FILE* file_;
};

class Source {  // the frames to send: each stored sequence in turn, broken ones between them by chance
  public:
    Source(Random& random, uint64_t sequences, uint64_t stored, uint32_t faults, uint64_t seed)
        : random_(random), sequences_(sequences), stored_(stored), faults_(faults), seed_(seed) {
        choose();
    }
    // TLAST of this beat, the same however often it is asked for
    bool tlast() const {
        if (!FX_COUNTED) return last();
        // engines differ, and so do stretches of sequences here
        const uint64_t count = sequence_ * FX_IN_BEATS + beat_;
        switch (Random(seed_ + (sequence_ / 8) * 977).next() % 5) {
            case 0: return last();
            case 1: return false;
            case 2: return true;
            case 3: return last() && Random(seed_ + count * 31).next() % 4 == 0;
            default: return Random(seed_ + count * 37).next() % (2 * FX_IN_BEATS) == 0;
        }
    }
    bool done() const { return sequence_ == sequences_; }
    bool right() const { return length_ == FX_IN_BEATS; }
    bool first() const { return beat_ == 0; }
    bool last() const { return beat_ == length_ - 1; }
    // this beat shows that the frame is broken
    bool breaks() const { return !right() && beat_ == (length_ < FX_IN_BEATS ? length_ : FX_IN_BEATS) - 1; }
    uint64_t sequence() const { return sequence_; }
    uint64_t beat() const { return (sequence_ * FX_IN_BEATS + beat_) % (stored_ * FX_IN_BEATS); }
    void accepted() {
        if (!last()) {
            ++beat_;
        } else {
            sequence_ += right();
            choose();
        }
    }
    void finish() { sequences_ = sequence_ + 1; }  // the frame under way is the last
    void give_up() {  // the frame under way is not sent again
        if (beat_ != 0) sequence_ += right();
        choose();
    }

  private:
    void choose() {
        beat_ = 0;
        length_ = FX_IN_BEATS;
        if (!random_.chance(faults_)) return;
        // with one beat a sequence none is too short
        if (FX_IN_BEATS > 1 && random_.next() % 2) length_ = 1 + random_.next() % (FX_IN_BEATS - 1);
        else length_ = FX_IN_BEATS + 1 + random_.next() % (2 * FX_IN_BEATS);
    }
    Random& random_;
    uint64_t sequences_;
    const uint64_t stored_;
    const uint32_t faults_;
    const uint64_t seed_;
    uint64_t sequence_ = 0, beat_ = 0, length_ = 0;
};

class Arguments {  // name=value; Verilator reads the +plusargs by itself
  public:
    Arguments(int argc, char** argv) {
        for (int index = 1; index < argc; ++index) {
            const std::string text = argv[index];
            const size_t equal = text.find('=');
            if (text[0] != '+' && equal != std::string::npos) values_[text.substr(0, equal)] = text.substr(equal + 1);
        }
    }
    std::string text(const char* name) const {
        const auto found = values_.find(name);
        if (found == values_.end()) die(std::string("argument ") + name + " is missing");
        return found->second;
    }
    uint64_t number(const char* name) const { return std::strtoull(text(name).c_str(), nullptr, 10); }

  private:
    std::map<std::string, std::string> values_;
};

}  // namespace

int main(int argc, char** argv) {
    const Arguments arguments(argc, argv);
    const Mapped inputs(arguments.text("inputs"));
    const Mapped expected(arguments.text("expected"));
    Writer outputs(arguments.text("outputs"));
    Writer completions(arguments.text("completions"));
    const uint64_t stored = arguments.number("stored");  // sequences in the files; later ones start over
    const uint64_t sequences = arguments.number("sequences");
    const uint64_t timeout = arguments.number("timeout");
    const uint64_t drain = arguments.number("drain");
    const uint64_t keep_completions = arguments.number("keep");
    Random random(arguments.number("seed"));
    const uint32_t burst = static_cast<uint32_t>(arguments.number("burst"));
    Stall idle(random, static_cast<uint32_t>(arguments.number("idle")), burst);
    Stall backpressure(random, static_cast<uint32_t>(arguments.number("backpressure")), burst);
    Source source(random, sequences, stored, static_cast<uint32_t>(arguments.number("faults")),
                  arguments.number("seed"));
    // each sequence alone in the design, after a pause: its latency is this one
    const bool alone = arguments.number("alone") != 0;
    const int64_t latency = static_cast<int64_t>(arguments.number("latency"));
    const uint32_t resets = static_cast<uint32_t>(arguments.number("resets"));

    const auto context = std::make_unique<VerilatedContext>();
    context->commandArgs(argc, argv);
    // Registers without a reset start at random, so that a design which relies on zeros is caught.
    context->randReset(2);
    context->randSeed(static_cast<int>(arguments.number("seed") & 0x3fffffff) + 1);
#ifdef FX_WAVES
    context->traceEverOn(true);
#endif
    const auto dut = std::make_unique<Vdut>(context.get());
#ifdef FX_WAVES
    // From the first beat of a sequence (of the first: from the reset) to its result, or to what is wrong.
    VerilatedFstC waves;
    waves.set_time_unit("1ps");
    waves.set_time_resolution("1ps");
    dut->trace(&waves, 99);
    const uint64_t shown = arguments.number("shown"), period = arguments.number("period");
    enum { kBefore, kShown, kAfter } showing = kBefore;
    const auto show = [&](uint64_t cycle, bool high) {
        if (showing != kShown) return;
        if (!waves.isOpen()) waves.open(arguments.text("waves").c_str());
        waves.dump(cycle * period + (high ? period / 2 : 0));
    };
    if (shown == 0) showing = kShown;
#define FX_SHOW(cycle, high) show(cycle, high)
#else
#define FX_SHOW(cycle, high)
#endif

    std::vector<std::unique_ptr<Writer>> taps;
    const std::string tap_prefix = arguments.text("taps");
    const bool looking = arguments.number("looking") != 0;
#define FX_TAP(valid, data, words) \
    taps.push_back(std::make_unique<Writer>(tap_prefix + std::to_string(taps.size()) + ".bin"));
    if (looking) {
        FX_TAPS
    }
#undef FX_TAP

    std::vector<Buffer> buffers;
#define FX_BUFFER(push, pop, filled, depth, steps) buffers.emplace_back(depth, steps);
    FX_BUFFERS
#undef FX_BUFFER
    const bool filling = arguments.number("fill") != 0;
    Fill fill(buffers, FX_IN_BEATS, FX_GROUP, arguments.number("patience"));
    bool filled = !filling;

    uint32_t in_word[kInWords + 1] = {};
    const auto garbage = [&] {
        for (uint32_t index = 0; index < kInWords; ++index) in_word[index] = random.next();
        if (FX_IN_BITS % 32) in_word[kInWords - 1] &= (1u << (FX_IN_BITS % 32)) - 1;
    };

    dut->FX_RESET = 0;
    dut->FX_S(tvalid) = 0;
    dut->FX_M(tready) = 0;
    for (uint32_t cycle = 0; cycle < kResetCycles; ++cycle) {
        garbage();
        put(dut->FX_S(tdata), in_word);
        dut->FX_S(tlast) = random.next() & 1;
        dut->FX_CLOCK = 0;
        dut->eval();
        FX_SHOW(cycle, false);
        dut->FX_CLOCK = 1;
        dut->eval();
        FX_SHOW(cycle, true);
    }
    dut->FX_RESET = 1;

    std::deque<uint64_t> due;  // sequences that the sink has not got in whole
    std::deque<bool> ends;     // of those that are in: whether TLAST is to come with the last result
    bool packet_ended = false;
    uint64_t sent = 0, received = 0, completed = 0, pause = 0;
    int64_t began = -1;  // edge that took the first beat of the latest sequence
    uint64_t cycle = 0, progress = 0;  // number of the coming clock edge; edge of the last handshake
    int64_t first_in = -1, first_last_in = -1, last_in = -1, first_out = -1;
    bool offered = false, stalled = false, held_last = false, error_due = false;
    uint32_t out_word[kOutWords + 1] = {}, held_word[kOutWords + 1] = {};
    std::string fault;
    long memory = 0;  // after the first sequences, when all is warm
    auto reported = std::chrono::steady_clock::now();

    for (;; ++cycle) {
        // a beat once offered stays until it is taken
        const bool waits = alone && source.first() && (!due.empty() || pause > 0);
        if (alone && due.empty() && pause > 0) --pause;
        if (!filled) {
            fill.decide(static_cast<int64_t>(cycle), sent, offered);
            if (fill.over()) {
                source.finish();
                filled = true;
            }
        }
        const bool may_offer = filled || fill.may_offer(sent);
        if (!offered && !source.done() && !waits && may_offer) offered = !idle.now();
        dut->FX_S(tvalid) = offered;
        if (offered) {
            put(dut->FX_S(tdata), inputs.at(source.beat() * kInWords));
            dut->FX_S(tlast) = source.tlast();
        } else {
            // without tvalid the other lines mean nothing; a design that reads them is wrong
            garbage();
            put(dut->FX_S(tdata), in_word);
            dut->FX_S(tlast) = random.next() & 1;
        }
        dut->FX_M(tready) = filled ? !backpressure.now() : fill.ready();
        if (!source.done() && random.chance(resets)) {
            // one edge forgets everything: frames under way are neither finished nor answered
            dut->FX_RESET = 0;
            for (const int level : {0, 1}) {
                dut->FX_CLOCK = level;
                dut->eval();
            }
            dut->FX_RESET = 1;
            source.give_up();
            due.clear();
            ends.clear();
            packet_ended = false;
            offered = stalled = error_due = false;
            progress = cycle;
            continue;
        }
        dut->FX_CLOCK = 0;
        dut->eval();
#ifdef FX_WAVES
        if (showing == kBefore && offered && source.first() && source.sequence() == shown) showing = kShown;
#endif
        FX_SHOW(cycle + kResetCycles, false);

        // what stands now is what the coming edge sees
        const bool accepted = offered && dut->FX_S(tready);
        const bool out_valid = dut->FX_M(tvalid);
        const bool out_last = dut->FX_M(tlast);
        if (dut->FX_ERROR != error_due) {
            fault = error_due ? "no_frame_error" : "frame_error";
            break;
        }
        if (stalled && !out_valid) {
            fault = "dropped";
            break;
        }
        if (out_valid) {
            get(dut->FX_M(tdata), out_word);
            if (first_out < 0) first_out = static_cast<int64_t>(cycle);
            if (due.empty()) {
                fault = "extra";
                break;
            }
            if (alone && received % FX_OUT_BEATS == 0 && static_cast<int64_t>(cycle) - began != latency) {
                fault = "timing";
                break;
            }
            if (stalled && (out_last != held_last || std::memcmp(out_word, held_word, 4 * kOutWords) != 0)) {
                fault = "unstable";
                break;
            }
        }
        size_t number = 0;
        bool sound = true;
#define FX_BUFFER(push, pop, filled, depth, steps) sound = buffers[number++].see(filled, push, pop) && sound;
        FX_BUFFERS
#undef FX_BUFFER
        if (!sound) {
            fault = "overfull";
            break;
        }
        if (!filled) fill.observe(static_cast<int64_t>(cycle), accepted, out_valid && dut->FX_M(tready));
#define FX_TAP(valid, data, words)              \
    if (valid) {                                \
        uint32_t word[words + 1];               \
        get(data, word);                        \
        taps[tap]->write(word, 4 * words);      \
    }                                           \
    ++tap;
        if (looking) {
            [[maybe_unused]] size_t tap = 0;
            FX_TAPS
        }
#undef FX_TAP
        stalled = out_valid && !dut->FX_M(tready);
        if (stalled) {
            std::memcpy(held_word, out_word, 4 * kOutWords);
            held_last = out_last;
        }
        if (alone && offered && !accepted && source.first()) {
            fault = "timing";  // nothing is under way, so nothing keeps the beat out
            break;
        }
        error_due = accepted && source.breaks();
        if (accepted) {
            offered = false;
            progress = cycle;
            if (source.first()) {
                began = static_cast<int64_t>(cycle);
                pause = random.next() % drain;
            }
            if (first_in < 0) first_in = static_cast<int64_t>(cycle);
            ++sent;
            if (sent == FX_IN_BEATS) first_last_in = static_cast<int64_t>(cycle);
            last_in = static_cast<int64_t>(cycle);
            // a design that answers each step does so before the sequence has ended
            if (source.right() && (FX_OUT_BEATS > 1 ? source.first() : source.last())) due.push_back(source.sequence());
            packet_ended = packet_ended || source.tlast();
            if (source.last()) {
                if (source.right()) ends.push_back(!FX_COUNTED || packet_ended);
                packet_ended = false;
            }
            source.accepted();
        }
        if (out_valid && !stalled) {
            progress = cycle;
            outputs.write(out_word, 4 * kOutWords);
            const uint64_t beat = received % FX_OUT_BEATS;
            if (expected &&
                std::memcmp(out_word, expected.at((due.front() % stored * FX_OUT_BEATS + beat) * kOutWords), 4 * kOutWords)) {
                fault = "value";
                break;
            }
            const bool final = beat == FX_OUT_BEATS - 1;
            if (out_last != (final && !ends.empty() && ends.front())) {
                fault = "tlast";
                break;
            }
            ++received;
            if (final) {
                due.pop_front();
                if (!ends.empty()) ends.pop_front();
                if (++completed == 1000) memory = anonymous_kb();
                if (completed <= keep_completions) completions.write(&cycle, sizeof cycle);
            }
        }
        if (source.done() && due.empty()) {
            if (cycle - progress >= drain) break;
        } else if (cycle - progress > timeout) {
            fault = "timeout";
            break;
        }
        dut->FX_CLOCK = 1;
        dut->eval();
        FX_SHOW(cycle + kResetCycles, true);
#ifdef FX_WAVES
        if (showing == kShown && completed > shown) showing = kAfter;
#endif

        if (cycle % 4096 == 0) {
            const auto now = std::chrono::steady_clock::now();
            if (now - reported > std::chrono::milliseconds(200)) {
                reported = now;
                std::fprintf(stderr, "progress %llu\n", static_cast<unsigned long long>(completed));
            }
        }
    }
    const long grown = anonymous_kb();
#ifdef FX_WAVES
    dut->FX_CLOCK = 1;  // the edge at which the run ended
    dut->eval();
    show(cycle + kResetCycles, true);
    waves.close();
#endif
    dut->final();
#ifdef FX_COVERAGE
    context->coveragep()->write(arguments.text("coverage").c_str());
#endif
    const auto print = [](const char* name, long long value) { std::printf("%s %lld\n", name, value); };
    std::printf("fault %s\n", fault.empty() ? "none" : fault.c_str());
    print("cycles", static_cast<long long>(cycle));
    print("sent", static_cast<long long>(sent));
    print("received", static_cast<long long>(received));
    print("due", static_cast<long long>(due.empty() ? completed : due.front()));
    print("memory_early", memory);
    print("memory_late", grown);
    print("first_in", first_in);
    print("first_last_in", first_last_in);
    print("last_in", last_in);
    print("filled", filled);
    for (size_t number = 0; number < buffers.size(); ++number) buffers[number].print(number);
    print("first_out", first_out);
    return 0;
}
