// espy bench: what this machine can do, as figures that name the machine, the build and the version.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/format.h"
#include "base/uuid.h"
#include "cli/archive.h"
#include "cli/commands.h"
#include "cli/environment.h"
#include "cli/figures.h"
#include "cli/history.h"
#include "cli/output.h"
#include "cli/shipped_models.h"
#include "cli/text.h"
#include "image/decode.h"
#include "image/prepare.h"
#include "model/dataset.h"
#include "model/predictor.h"
#include "model/recipe.h"
#include "model/train.h"
#include "nn/predictor.h"
#include "store/bench.h"
#include "store/record.h"

namespace espy::cli {
namespace {

using Seconds = std::chrono::duration<double>;
using SteadyClock = std::chrono::steady_clock;

// Returns microseconds a call: the median of nine rounds that last long enough for the clock.
double microseconds_a_call(const std::function<void()>& call) {
  constexpr int kRounds = 9;
  constexpr Seconds kRound{0.05};
  call();  // plans and caches
  std::vector<double> rounds;
  for (int round = 0; round < kRounds; ++round) {
    int calls = 0;
    const auto began = SteadyClock::now();
    Seconds spent{};
    do {
      call();
      ++calls;
      spent = SteadyClock::now() - began;
    } while (spent < kRound);
    rounds.push_back(spent.count() * 1e6 / calls);
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

// A bright stroke on black, so that preparing has something to scale and centre.
image::GrayImage draw_stroke(int width, int height) {
  image::GrayImage picture{width, height, {}};
  picture.pixels.resize(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (int y = height / 5; y < height * 4 / 5; ++y) {
    const int center = width / 4 + (y - height / 5) / 2;
    const int half = std::max(1, width / 20);
    for (int x = std::max(0, center - half); x < std::min(width, center + half); ++x) {
      picture.pixels[static_cast<std::size_t>(y) * static_cast<std::size_t>(width) +
                     static_cast<std::size_t>(x)] = 255;
    }
  }
  return picture;
}

// Returns a BMP file of 8-bit grey (BITMAPFILEHEADER, BITMAPINFOHEADER, a palette of 256 greys, rows from the
// bottom, each filled up to four bytes): the one format that can be written without a codec.
std::string to_bmp(const image::GrayImage& picture) {
  std::string file;
  const auto append = [&](std::uint32_t value, int bytes) {
    for (int byte = 0; byte < bytes; ++byte) file += static_cast<char>(value >> (8 * byte) & 0xff);
  };
  constexpr std::uint32_t kHeaderBytes = 14 + 40 + 256 * 4;
  const auto width = static_cast<std::uint32_t>(picture.width);
  const auto height = static_cast<std::uint32_t>(picture.height);
  const std::uint32_t row_bytes = (width + 3) / 4 * 4;
  file += "BM";
  append(kHeaderBytes + row_bytes * height, 4);
  append(0, 4);
  append(kHeaderBytes, 4);
  append(40, 4);
  append(width, 4);
  append(height, 4);
  append(1, 2);
  append(8, 2);
  append(0, 4);
  append(row_bytes * height, 4);
  append(0, 4);
  append(0, 4);
  append(256, 4);
  append(0, 4);
  for (std::uint32_t gray = 0; gray < 256; ++gray) append(gray * 0x010101, 4);
  for (int y = picture.height - 1; y >= 0; --y) {
    for (int x = 0; x < picture.width; ++x) file += static_cast<char>(picture.at(x, y));
    file.append(row_bytes - width, '\0');
  }
  return file;
}

// Returns what a calibration costs a picture: probabilities, foreignness, and so the verdict; without the
// network. Errors: as nn::Predictor::create.
Result<double> verdict_microseconds(const model::Model& model, const image::Input& input) {
  Result<std::unique_ptr<nn::Predictor>> network = nn::Predictor::create(model.network());
  if (!network) return std::move(network).error();
  std::vector<float> values(input.size());
  std::ranges::transform(input, values.begin(),
                         [](std::uint8_t value) { return static_cast<float>(value) / 255.0F; });
  const std::span<const float> logits = (*network)->logits(values, 1);
  const std::span<const float> features = (*network)->features();
  const model::Calibration& calibration = *model.calibration();
  return microseconds_a_call([&] {
    (void)calibration.probabilities(logits);
    (void)calibration.foreignness(input, features, logits);
  });
}

ExitStatus bench_predict(const std::string& precision_name, bool json) {
  const auto precision = usable_precision(precision_name);
  if (!precision) return fail(precision.error());
  std::vector<Figure> figures;
  for (const int side : {28, 512}) {
    const image::GrayImage picture = draw_stroke(side, side);
    const std::string upload = to_bmp(picture);
    if (const auto decoded = image::decode(as_bytes(upload)); !decoded) return fail(decoded.error());
    figures.push_back({format("decode, BMP {0}x{0}", side),
                       microseconds_a_call([&] { (void)image::decode(as_bytes(upload)); }), "us/picture"});
    for (const auto preparation : {image::Preparation::digit, image::Preparation::garment}) {
      figures.push_back({format("prepare {0}, {1}x{1}", image::to_string(preparation), side),
                         microseconds_a_call([&] { (void)image::prepare(picture, preparation); }),
                         "us/picture"});
    }
  }
  for (const ShippedModel& shipped : shipped_models()) {
    const auto model = load_model(std::string(shipped.name));
    if (!model) return fail(model.error());
    model::Predictor predictor(*model, *precision);
    const image::Input input = image::prepare(draw_stroke(100, 100), (*model)->preparation());
    for (const std::size_t batch : {1, 64}) {
      const std::vector<image::Input> inputs(batch, input);
      const double microseconds = microseconds_a_call([&] { (void)predictor.predict(inputs); });
      figures.push_back({format("predict {}, batch of {}", shipped.name, batch),
                         microseconds / static_cast<double>(batch), "us/picture"});
    }
    if (!(*model)->calibration()) continue;
    const auto verdict = verdict_microseconds(**model, input);
    if (!verdict) return fail(verdict.error());
    figures.push_back({format("verdict {}", shipped.name), *verdict, "us/picture"});
  }
  print_figures(figures, json ? FigureStyle::json : FigureStyle::table);
  return ExitStatus::done;
}

// Trains for `duration` and returns what an epoch would take.
Result<double> seconds_an_epoch(const model::Dataset& data, const model::Recipe& recipe, int threads,
                                Seconds duration) {
  double images_a_second = 0;
  const auto trained =
      model::train(data, recipe, {.threads = threads, .on_progress = [&](const model::Progress& progress) {
                                    images_a_second = progress.images_a_second;
                                    return progress.elapsed < duration;
                                  }});
  // Being stopped by on_progress is the way this ends.
  if (images_a_second == 0) return trained.error();
  return kEpochImages / images_a_second;
}

ExitStatus bench_train(int threads, bool json) {
  const model::Dataset data = make_noise(6000);
  std::vector<int> thread_counts = {1};
  if (const int all = thread_count(threads); all > 1) thread_counts.push_back(all);
  std::vector<Figure> figures;
  for (const std::string_view name : {"mlp", "deep"}) {
    const model::Recipe& recipe = *model::find_recipe(name);
    for (const int count : thread_counts) {
      const int used = std::min(count, recipe.batch_size);
      const auto seconds = seconds_an_epoch(data, recipe, used, Seconds(3));
      if (!seconds) return fail(seconds.error());
      figures.push_back({format("train {}, {} {}", name, used, used == 1 ? "thread" : "threads"), *seconds,
                         "s/epoch of 60,000"});
    }
  }
  print_figures(figures, json ? FigureStyle::json : FigureStyle::table);
  return ExitStatus::done;
}

double count(std::chrono::microseconds duration) { return static_cast<double>(duration.count()); }

// The disk's own figures of the same minute stand beside each kind of measurement.
void add_disk(std::vector<Figure>& figures, const store::DiskFigures& disk, std::string_view beside) {
  figures.push_back({format("disk alone, beside {}", beside), disk.syncs_per_second, "syncs/s"});
  figures.push_back({format("disk alone, median, beside {}", beside), count(disk.median), "us"});
  figures.push_back({format("disk alone, 99th percentile, beside {}", beside), count(disk.p99), "us"});
}

// What upkeep and imports are measured on, 300 MB: enough for seconds of each.
constexpr std::int64_t kUpkeepRecords = 200'000;

void add_upkeep(std::vector<Figure>& figures, const store::UpkeepFigures& upkeep) {
  add_disk(figures, upkeep.disk, "upkeep");
  for (const auto& [beside, latency] : {std::pair{"alone", upkeep.alone},
                                        {"beside a backup", upkeep.backup},
                                        {"beside retention by size", upkeep.retention_by_size},
                                        {"beside retention by age", upkeep.retention_by_age}}) {
    figures.push_back({format("99th percentile, half load {}", beside), count(latency.p99), "us"});
    figures.push_back({format("greatest latency, half load {}", beside), count(latency.greatest), "us"});
  }
  figures.push_back({"longest checkpoint", count(upkeep.checkpoint), "us"});
  figures.push_back({"longest step of retention", count(upkeep.retention_step), "us"});
}

// Returns rows a second of `espy history import`. Errors: as import_archive; unavailable.
Result<double> import_rows_a_second(const std::filesystem::path& folder, std::int64_t records,
                                    ArchiveFormat archive_format) {
  const std::filesystem::path archive = folder / "espy-bench-import.part";
  const std::filesystem::path imported = folder / "espy-bench-import.db";
  const auto remove = [&] {
    std::error_code error;
    std::filesystem::remove(archive, error);
    for (const std::string_view end : {"", "-wal", "-shm", "-lock"}) {
      std::filesystem::remove(imported.string().append(end), error);
    }
  };
  remove();
  {
    std::ofstream file(archive, std::ios::binary);
    UuidGenerator ids;
    store::Upload upload{"image/png", std::string(300, 'x')};
    store::Record record;
    record.model = "digits";
    record.model_version = "0123456789ab";
    record.file_name = "seven.png";
    record.class_name = "7";
    record.confidence = 0.97F;
    record.input.fill(3);
    record.upload_digest = sha256(as_bytes(upload.bytes));
    record.upload_bytes = upload.bytes.size();
    for (std::int64_t number = 0; file && number < records; ++number) {
      record.time = system_clock()();
      record.id = ids.next(record.time);
      file << archive_text(to_archive(record, upload, {}).front(), archive_format);
    }
    file.close();
    if (!file) {
      remove();
      return Error{ErrorCode::unavailable, format("cannot write {}", archive.string())};
    }
  }
  const auto begin = SteadyClock::now();
  const auto done = import_archive(archive.string(), "sqlite:" + imported.string());
  const Seconds spent = SteadyClock::now() - begin;
  remove();
  if (!done) return done.error();
  return static_cast<double>(records) / spent.count();
}

ExitStatus bench_store(const std::string& folder, std::int64_t records, bool json) {
  std::vector<Figure> figures;
  for (const int clients : {1, 16, 64}) {
    const auto measured = store::measure(folder, clients, std::chrono::seconds(2));
    if (!measured) return fail(measured.error());
    const std::string who = format("{} {}", clients, clients == 1 ? "client" : "clients");
    add_disk(figures, measured->disk, who);
    figures.push_back({format("durable records, {}", who), measured->rows_per_second, "records/s"});
    figures.push_back({format("records a sync of the disk, {}", who),
                       measured->rows_per_second / measured->disk.syncs_per_second, "records"});
    figures.push_back({format("median latency, {}", who), count(measured->median_latency), "us"});
    figures.push_back({format("99th percentile, {}", who), count(measured->p99_latency), "us"});
    figures.push_back({format("processor, {}", who), measured->cpu_microseconds_per_row, "us/record"});
  }
  const auto half = store::measure_half_load(folder, std::chrono::seconds(4));
  if (!half) return fail(half.error());
  add_disk(figures, half->disk, "half load");
  figures.push_back({"half load", half->rows_per_second, "records/s"});
  figures.push_back({"median latency, half load", count(half->median_latency), "us"});
  figures.push_back({"99th percentile, half load", count(half->p99_latency), "us"});
  figures.push_back({"greatest latency, half load", count(half->greatest_latency), "us"});
  if (records > 0) {
    const auto upkeep =
        store::measure_upkeep(folder, kUpkeepRecords, half->rows_per_second, std::chrono::seconds(4));
    if (!upkeep) return fail(upkeep.error());
    add_upkeep(figures, *upkeep);
    for (const auto& [name, archive_format] :
         {std::pair{"CSV", ArchiveFormat::csv}, {"NDJSON", ArchiveFormat::ndjson}}) {
      const auto rows = import_rows_a_second(folder, kUpkeepRecords, archive_format);
      if (!rows) return fail(rows.error());
      figures.push_back({format("history import, {}", name), *rows, "records/s"});
    }
    const auto pages = store::measure_pages(folder, records);
    if (!pages) return fail(pages.error());
    add_disk(figures, pages->disk, "pages");
    figures.push_back({"appends in bulk", pages->bulk_rows_per_second, "records/s"});
    for (const auto& [kind, latency] : {std::pair{"newest", pages->newest},
                                        {"by time", pages->by_time},
                                        {"by label", pages->by_label},
                                        {"by file name", pages->by_file_name},
                                        {"by a file name that no record has", pages->by_unknown_file_name},
                                        {"by cursor", pages->by_id}}) {
      figures.push_back({format("page of 50 {}, median", kind), count(latency.median), "us"});
      figures.push_back({format("page of 50 {}, 99th percentile", kind), count(latency.p99), "us"});
    }
  }
  print_figures(figures, json ? FigureStyle::json : FigureStyle::table);
  return ExitStatus::done;
}

}  // namespace

Action declare_bench_predict(Flags& flags) {
  struct Settings {
    std::string precision = "f32";
    bool json = false;
  };
  auto settings = std::make_shared<Settings>();
  flags.choice("--precision", {"f32", "bf16"}, settings->precision,
               "numbers to multiply in; bf16 is quicker where the processor has it, and less exact");
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return bench_predict(settings->precision, settings->json); };
}

Action declare_bench_train(Flags& flags) {
  struct Settings {
    int threads = 0;
    bool json = false;
  };
  auto settings = std::make_shared<Settings>();
  flags.number<int>("--threads", "N", settings->threads, {0, 1024}, "threads to compare with one",
                    "one for each processor");
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return bench_train(settings->threads, settings->json); };
}

Action declare_bench_store(Flags& flags) {
  struct Settings {
    std::string folder = ".";
    std::int64_t records = 100'000;
    bool json = false;
  };
  auto settings = std::make_shared<Settings>();
  flags.text("--folder", "DIR", settings->folder, "a folder on the disk to measure");
  flags.number<std::int64_t>("--records", "N", settings->records, {0, 1'000'000'000},
                             "pages are read from a history of so many, 1.5 KB each; 0: none are");
  flags.toggle("--json", settings->json, "print one JSON object");
  return [settings] { return bench_store(settings->folder, settings->records, settings->json); };
}

}  // namespace espy::cli
