// Model files: model::Model::parse, and what it lets through must be fit to predict with.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/file.h"
#include "model/file_version.h"
#include "model/predictor.h"

namespace {

void check(const std::string& file) {
  espy::Result<espy::model::Model> model = espy::model::Model::parse(espy::as_bytes(file));
  if (!model) return;
  if (model->file() != file) std::abort();
  espy::model::Predictor predictor(std::make_shared<const espy::model::Model>(*std::move(model)));
  const espy::image::Input input{255};
  if (predictor.predict({&input, 1}).size() != 1) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string file(reinterpret_cast<const char*>(data), size);
  check(file);
  // Any change spoils the version, which would keep the fuzzer out of what lies behind it; so it is made to
  // fit.
  check(espy::model::with_version(file));
  return 0;
}
