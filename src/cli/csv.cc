#include "cli/csv.h"

#include "base/digest.h"
#include "base/format.h"

namespace espy::cli {

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string csv_heading() {
  return "id,time,model,version,file_name,label,class,confidence,verdict,reason,alternative,upload_sha256,"
         "upload_bytes,latency_us\r\n";
}

std::string csv_line(const store::Record& record) {
  return format("{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", to_string(record.id), to_string(record.time),
                csv_field(record.model), csv_field(record.model_version), csv_field(record.file_name),
                record.label, csv_field(record.class_name), record.confidence, to_string(record.verdict),
                record.reason == Reason::none ? "" : to_string(record.reason), csv_field(record.alternative),
                to_hex(record.upload_digest), record.upload_bytes, record.latency.count());
}

}  // namespace espy::cli
