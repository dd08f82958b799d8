// Checkpoints: model::parse_checkpoint, what it lets through must be written as it was read, and a trainer
// must take or refuse it.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/digest.h"
#include "base/file.h"
#include "model/checkpoint.h"

namespace {

const espy::nn::Architecture kArchitecture = {{1, 2, 2}, {espy::nn::Flatten{}, espy::nn::Dense{2}}};

void check(const std::string& file) {
  const espy::Result<espy::model::Checkpoint> checkpoint =
      espy::model::parse_checkpoint(espy::as_bytes(file));
  if (!checkpoint) return;
  if (espy::model::serialize(*checkpoint) != file) std::abort();
  (void)espy::nn::Trainer::resume(kArchitecture, checkpoint->state, {.optimizer = espy::nn::Adam{}});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  check(file);
  // Any change spoils the digest, which would keep the fuzzer out of what lies before it; so it is made to
  // fit.
  constexpr std::size_t kDigestBytes = std::tuple_size_v<espy::Sha256>;
  if (size < kDigestBytes) return 0;
  file.resize(size - kDigestBytes);
  const espy::Sha256 digest = espy::sha256(espy::as_bytes(file));
  check(file.append(digest.begin(), digest.end()));
  return 0;
}
