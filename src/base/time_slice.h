// How long the scheduler lets a thread run at a time.
#pragma once

namespace espy {

// Asks the scheduler to run the calling thread, and the threads that it starts from now on, soon rather than
// for long: 0.1 ms at a time, the least there is, instead of about 3. A thread that wakes up to answer then
// does not wait until one that computes has had its turn. It gets no more of the processor than others.
// Linux 6.12 and newer know such a wish (sched_setattr(2), sched_runtime of SCHED_OTHER); others ignore it.
// Measured: 16 connections beside a training on both of 2 processors, median 2.9 -> 1.5 ms, 99th percentile
// 10 -> 8 ms (1.2 and 3.5 ms without the training).
void prefer_short_time_slices();

}  // namespace espy
