#include "cli/csv.h"

#include <algorithm>

#include "base/digest.h"
#include "base/format.h"
#include "base/hex.h"

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
         "upload_bytes,latency_us,subject,corrected_label,corrected_class\r\n";
}

std::string csv_line(const store::Record& record) {
  return format("{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{}\r\n", to_string(record.id),
                to_string(record.time), csv_field(record.model), csv_field(record.model_version),
                csv_field(record.file_name), record.label, csv_field(record.class_name), record.confidence,
                to_string(record.verdict), record.reason == Reason::none ? "" : to_string(record.reason),
                csv_field(record.alternative), to_hex(record.upload_digest), record.upload_bytes,
                record.latency.count(), csv_field(record.subject),
                record.correction ? format("{}", record.correction->label) : "",
                record.correction ? csv_field(record.correction->class_name) : "");
}

bool ends_inside_quotes(std::string_view text) { return std::ranges::count(text, '"') % 2 == 1; }

Result<std::vector<std::string>> parse_csv_line(std::string_view line) {
  std::vector<std::string> fields;
  while (true) {
    std::string& field = fields.emplace_back();
    if (line.starts_with('"')) {
      line.remove_prefix(1);
      while (true) {
        const std::size_t quote = line.find('"');
        if (quote == line.npos) return Error{ErrorCode::invalid_input, "a quote is never closed"};
        field += line.substr(0, quote);
        line.remove_prefix(quote + 1);
        if (!line.starts_with('"')) break;
        field += '"';
        line.remove_prefix(1);
      }
      if (!line.empty() && line.front() != ',') {
        return Error{ErrorCode::invalid_input, "a quoted field goes on behind its quotes"};
      }
    } else {
      field = line.substr(0, line.find(','));
      if (field.find('"') != field.npos) {
        return Error{ErrorCode::invalid_input, "a field has a quote but no quotes around it"};
      }
      line.remove_prefix(field.size());
    }
    if (line.empty()) return fields;
    line.remove_prefix(1);
  }
}

}  // namespace espy::cli
