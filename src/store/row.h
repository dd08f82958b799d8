// How a record, its upload and its corrections lie in their rows (migrations/).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/result.h"
#include "store/chain.h"
#include "store/packed_input.h"
#include "store/record.h"
#include "store/sqlite.h"

namespace espy::store {

// The columns, in the order that bind_... and read_... use. No two tables share a name, so that a join needs
// no prefixes.
inline constexpr std::string_view kRecordColumns =
    "id, time, model, model_version, file_name, subject, label, class_name, confidence, verdict, reason, "
    "alternative, upload_digest, upload_bytes, latency, astray, checksum, link, input";
inline constexpr int kRecordColumnCount = 19;
inline constexpr std::string_view kUploadColumns = "media_type, upload_checksum, upload";
inline constexpr int kUploadColumnCount = 3;
inline constexpr std::string_view kCorrectionColumns =
    "correction_id, record_id, corrected_at, right_label, right_class, author, note, correction_checksum, "
    "correction_link";
inline constexpr int kCorrectionColumnCount = 9;
inline constexpr std::string_view kErasureColumns =
    "erased_at, chosen_by, erased_records, erased_corrections, reason, erasure_link";
inline constexpr int kErasureColumnCount = 6;

// Returns the SHA-256 of the record's canonical encoding:
//   encoding := id(16 bytes) time model model_version file_name label class_name confidence verdict
//               upload_digest(32 bytes) upload_bytes latency input(784 bytes) because?
//   because  := reason alternative subject?
//   text     := length bytes
// where every number, length included, has eight bytes, big-endian, two's complement, and the confidence is
// its IEEE 754 single's bits. `subject` is there when the record has one, and `because` when it has a reason,
// an alternative or a subject: records from before there were any keep their digests.
// NOTE: histories hold these values; never change the encoding.
Sha256 digest(const Record& record);

// Likewise of a correction:
//   encoding := id(16 bytes) record(16 bytes) time label class_name author note
Sha256 digest(const Correction& correction);

// Likewise of an erasure:
//   encoding := time chosen_by records corrections reason
Sha256 digest(const Erasure& erasure);

// Returns the first eight bytes, big-endian, of a digest: what a row is checked by when it is read.
std::int64_t checksum(const Sha256& digest);

// The checksum of the SHA-256 of
//   encoding := upload_digest(32 bytes) media_type
// The bytes themselves are held by the digest.
std::int64_t checksum(const Sha256& upload_digest, std::string_view media_type);

// The column `astray` is a sum of these. Without either, records lie in the order of their ids, and their ids
// in the order of their times: an id is made when its upload has arrived, or within the second after it.
inline constexpr std::int64_t kAwayFromItsTime = 1;  // the clock was set back
inline constexpr std::int64_t kBehindItsTurn = 2;    // a record with a greater id arrived before

// The bits of a place that the places of one range of record_file_name differ in (migrations/0007_names.sql).
inline constexpr int kNameRangeBits = 12;

// Returns kAwayFromItsTime or 0.
std::int64_t strayed(const Record& record);

// The ids of the records of a time, but for those away from it.
Uuid first_id(Timestamp from);       // of all records with time >= from
Uuid past_last_id(Timestamp until);  // greater than the ids of all records with time < until

// Bind the record's columns from the first parameter on and the upload's behind them. `input` is the
// record's; `checksum` is what checksum() returns for the same values. The values must live until the
// statement is reset.
void bind_record(Statement& statement, const Record& record, const PackedInput& input, std::int64_t astray,
                 std::int64_t checksum, const Sha256& link);
void bind_upload(Statement& statement, const Upload& upload, std::int64_t checksum);
void bind_no_upload(Statement& statement);

// Binds the correction's columns from the first parameter on; the values must live likewise.
void bind_correction(Statement& statement, const Correction& correction, std::int64_t checksum,
                     const Sha256& link);

inline constexpr std::string_view kSelectNewestId =
    "SELECT id FROM record INDEXED BY record_page ORDER BY id DESC LIMIT 1";

// Runs kSelectNewestId, prepared on this connection. Returns nothing when there is no record.
// Errors: unavailable, corrupt (what is stored is no id).
Result<std::optional<Uuid>> read_newest_id(Statement& statement, const Connection& connection);

// Likewise.
void bind_erasure(Statement& statement, const Erasure& erasure, const Sha256& link);

// Read the current row: the record's columns, and the upload's behind them.
// Errors: corrupt (the checksum does not fit), naming the record; of an upload also not_found (not kept).
Result<Record> read_record(const Statement& statement);
Result<Upload> read_upload(const Statement& statement, const Record& record);

// Reads the correction's columns from column `first` on; nothing when they are NULL: there is none.
// Errors: corrupt.
Result<std::optional<Correction>> read_correction(const Statement& statement, int first);

// Reads the erasure's columns from column `first` on.
Erasure read_erasure(const Statement& statement, int first);

// As they stand in the row, whether or not that is damaged: for the chain, whose digests a damaged row no
// longer fits.
Record read_record_unchecked(const Statement& statement);
Correction read_correction_unchecked(const Statement& statement, int first);

}  // namespace espy::store
