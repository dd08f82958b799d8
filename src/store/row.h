// How a record and its upload lie in their row (migrations/).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "store/record.h"
#include "store/sqlite.h"

namespace espy::store {

// The columns, in the order that bind_... and read_... use.
inline constexpr std::string_view kRecordColumns =
    "id, time, model, model_version, file_name, label, class_name, confidence, verdict, reason, "
    "alternative, upload_digest, upload_bytes, latency, astray, checksum, input";
inline constexpr int kRecordColumnCount = 17;
inline constexpr std::string_view kUploadColumns = "media_type, upload_checksum, upload";
inline constexpr int kUploadColumnCount = 3;

// Returns the first eight bytes, big-endian, of the SHA-256 of the record's canonical encoding:
//   encoding := id(16 bytes) time model model_version file_name label class_name confidence verdict
//               upload_digest(32 bytes) upload_bytes latency input(784 bytes) because?
//   because  := reason alternative
//   text     := length bytes
// where every number, length included, has eight bytes, big-endian, two's complement, and the confidence is
// its IEEE 754 single's bits. `because` is there when the record has a reason or an alternative: records from
// before there were any keep their checksums. NOTE: histories hold these values; never change the encoding.
std::int64_t checksum(const Record& record);

// As above, of
//   encoding := upload_digest(32 bytes) media_type
// The bytes themselves are held by the digest.
std::int64_t checksum(const Sha256& upload_digest, std::string_view media_type);

// The ids of the records of a time: an id is made when its upload has arrived, or within the second after it.
// A record for which that does not hold has gone astray: its clock was set back.
bool is_astray(const Record& record);
Uuid first_id(Timestamp from);       // of all records with time >= from, but for those astray
Uuid past_last_id(Timestamp until);  // greater than the ids of all records with time < until, likewise

// Bind the record's columns from the first parameter on and the upload's behind them. `checksum` is what
// checksum() returns for the same values. `record` and `upload` must live until the statement is reset.
void bind_record(Statement& statement, const Record& record, std::int64_t checksum);
void bind_upload(Statement& statement, const Upload& upload, std::int64_t checksum);
void bind_no_upload(Statement& statement);

inline constexpr std::string_view kSelectNewestId =
    "SELECT id FROM record INDEXED BY record_page ORDER BY id DESC LIMIT 1";

// Runs kSelectNewestId, prepared on this connection. Returns nothing when there is no record.
// Errors: unavailable, corrupt (what is stored is no id).
Result<std::optional<Uuid>> read_newest_id(Statement& statement, const Connection& connection);

// Read the current row: the record's columns, and the upload's behind them.
// Errors: corrupt (the checksum does not fit), naming the record; of an upload also not_found (not kept).
Result<Record> read_record(const Statement& statement);
Result<Upload> read_upload(const Statement& statement, const Record& record);

}  // namespace espy::store
