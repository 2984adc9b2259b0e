// SPDX-License-Identifier: Apache-2.0
// The two functions of LZ4 that Verilator's FST writer calls, for machines without liblz4's header: the block format,
// with literals alone. Any reader of LZ4 takes it; it is only not smaller.
#ifndef FXSIM_LZ4_H
#define FXSIM_LZ4_H

#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

inline int LZ4_compress_default(const char* source, char* target, int size, int capacity) {
    if (capacity < LZ4_compressBound(size)) return 0;
    char* at = target;
    // One last sequence: a token with the number of literals (15 and more in bytes of its own), and no match.
    *at++ = static_cast<char>((size < 15 ? size : 15) << 4);
    if (size >= 15) {
        int rest = size - 15;
        for (; rest >= 255; rest -= 255) *at++ = static_cast<char>(255);
        *at++ = static_cast<char>(rest);
    }
    std::memcpy(at, source, static_cast<size_t>(size));
    return static_cast<int>(at - target) + size;
}

#endif
