// Large pages for large buffers.
#pragma once

#include <cstddef>

namespace espy {

// Asks the system to back this memory with pages of 2 MiB where it has such, before it is first touched: a
// fault for each of a buffer's 4 KiB pages costs more than filling it (on a virtual machine, Xeon with AMX:
// 13 MB of weights took 70 ms from their file to the first answer, 22 of them in such faults). Small buffers
// stay as they are.
void prefer_huge_pages(void* begin, std::size_t bytes);

}  // namespace espy
