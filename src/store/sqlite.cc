#include "store/sqlite.h"

#include <cstring>
#include <utility>

#include "base/format.h"

namespace espy::store {

Result<std::unique_ptr<Connection>> Connection::open(const std::string& path, int flags) {
  // SQLite's count of its memory is of no use here and takes a lock with each piece.
  [[maybe_unused]] static const int configured = sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
  sqlite3* handle = nullptr;
  const int status = sqlite3_open_v2(path.c_str(), &handle, flags | SQLITE_OPEN_NOMUTEX, nullptr);
  // SQLite gives a handle even to a failed open, for the message.
  std::unique_ptr<Connection> connection(new Connection(handle, path));
  if (status != SQLITE_OK) return connection->error("open");
  sqlite3_extended_result_codes(handle, 1);
  return connection;
}

Result<void> Connection::execute(const std::string& sql, std::string_view purpose) {
  if (sqlite3_exec(get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) return error(purpose);
  return {};
}

Result<std::string> Connection::value(const std::string& sql, std::string_view purpose) {
  Result<Statement> statement = Statement::prepare(*this, sql);
  if (!statement || statement->step() != SQLITE_ROW) return error(purpose);
  return std::string(statement->text(0));
}

Error Connection::error(std::string_view purpose) const {
  return error(purpose, get() == nullptr ? SQLITE_NOMEM : sqlite3_errcode(get()));
}

Error Connection::error(std::string_view purpose, int status) const {
  const int kind = status & 0xff;
  // What a File returns, the connection does not know.
  const bool is_latest = get() != nullptr && status == sqlite3_errcode(get());
  std::string reason = is_latest ? sqlite3_errmsg(get()) : sqlite3_errstr(status);
  if (is_latest && (kind == SQLITE_CANTOPEN || kind == SQLITE_IOERR)) {
    const int system = sqlite3_system_errno(get());
    if (system != 0) reason += format(": {}", std::strerror(system));
  }
  const bool content = kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB;
  return {content ? ErrorCode::corrupt : ErrorCode::unavailable,
          format("cannot {} store {}: {}", purpose, path_, reason)};
}

int checkpoint(Connection& connection, int mode, int& copied) {
  constexpr int kPatienceMilliseconds = 20;
  sqlite3_busy_timeout(connection.get(), kPatienceMilliseconds);
  const int status = sqlite3_wal_checkpoint_v2(connection.get(), nullptr, mode, nullptr, &copied);
  sqlite3_busy_timeout(connection.get(), kBusyMilliseconds);
  return status;
}

void leave_log(Connection& connection, bool leaves) {
  sqlite3_db_config(connection.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, leaves ? 1 : 0, nullptr);
}

File File::database(const Connection& connection) {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(connection.get(), "main", SQLITE_FCNTL_FILE_POINTER, &file);
  return File(file);
}

File File::log(const Connection& connection) {
  sqlite3_file* file = nullptr;
  sqlite3_file_control(connection.get(), "main", SQLITE_FCNTL_JOURNAL_POINTER, &file);
  return File(file);
}

int File::size(std::int64_t& bytes) const {
  sqlite3_int64 size = 0;
  const int status = file_->pMethods->xFileSize(file_, &size);
  bytes = size;
  return status;
}

int File::read(std::span<std::uint8_t> into, std::int64_t offset) const {
  return file_->pMethods->xRead(file_, into.data(), static_cast<int>(into.size()), offset);
}

int File::write(std::span<const std::uint8_t> bytes, std::int64_t offset) const {
  return file_->pMethods->xWrite(file_, bytes.data(), static_cast<int>(bytes.size()), offset);
}

int File::sync() const { return file_->pMethods->xSync(file_, SQLITE_SYNC_NORMAL); }

Result<Statement> Statement::prepare(const Connection& connection, std::string_view sql) {
  sqlite3_stmt* prepared = nullptr;
  const int status =
      sqlite3_prepare_v3(connection.get(), sql.data(), static_cast<int>(sql.size()), 0, &prepared, nullptr);
  if (status != SQLITE_OK) return connection.error("use");
  Statement statement;
  statement.statement_.reset(prepared);
  return statement;
}

void Statement::bind(int parameter, std::int64_t value) {
  const int status = sqlite3_bind_int64(statement_.get(), parameter, value);
  if (status != SQLITE_OK) bind_status_ = status;
}

void Statement::bind(int parameter, double value) {
  const int status = sqlite3_bind_double(statement_.get(), parameter, value);
  if (status != SQLITE_OK) bind_status_ = status;
}

// A null pointer would bind NULL, which an empty text or blob is not.
void Statement::bind(int parameter, std::string_view value) {
  const int status = sqlite3_bind_text64(statement_.get(), parameter, value.empty() ? "" : value.data(),
                                         value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (status != SQLITE_OK) bind_status_ = status;
}

void Statement::bind(int parameter, std::span<const std::uint8_t> value) {
  const void* bytes = value.empty() ? static_cast<const void*>("") : value.data();
  const int status = sqlite3_bind_blob64(statement_.get(), parameter, bytes, value.size(), SQLITE_STATIC);
  if (status != SQLITE_OK) bind_status_ = status;
}

void Statement::bind_null(int parameter) {
  const int status = sqlite3_bind_null(statement_.get(), parameter);
  if (status != SQLITE_OK) bind_status_ = status;
}

int Statement::step() {
  if (bind_status_ != SQLITE_OK) return std::exchange(bind_status_, SQLITE_OK);
  return sqlite3_step(statement_.get());
}

void Statement::reset() { sqlite3_reset(statement_.get()); }

int Statement::run() {
  const int status = step();
  reset();
  return status == SQLITE_DONE ? SQLITE_OK : status;
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

std::int64_t Statement::integer(int column) const { return sqlite3_column_int64(statement_.get(), column); }

double Statement::real(int column) const { return sqlite3_column_double(statement_.get(), column); }

std::string_view Statement::text(int column) const {
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return text == nullptr ? std::string_view()
                         : std::string_view(reinterpret_cast<const char*>(text), static_cast<size_t>(size));
}

std::span<const std::uint8_t> Statement::blob(int column) const {
  const void* bytes = sqlite3_column_blob(statement_.get(), column);
  const int size = sqlite3_column_bytes(statement_.get(), column);
  return {static_cast<const std::uint8_t*>(bytes), bytes == nullptr ? 0 : static_cast<size_t>(size)};
}

}  // namespace espy::store
