#include "cassandra/cluster_options.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <string>
#include <utility>

#include "base/format.h"
#include "cassandra/tables.h"

namespace espy::cassandra {
namespace {

constexpr std::size_t kMaxNameLength = 48;  // of a keyspace or table, Cassandra's own limit

Error invalid(std::string message) { return {ErrorCode::invalid_input, std::move(message)}; }

// A keyspace's or a table's name as it stands in a statement without quotes.
bool is_name(std::string_view text) {
  const auto lower = [](char c) { return c >= 'a' && c <= 'z'; };
  const auto inside = [&](char c) { return lower(c) || (c >= '0' && c <= '9') || c == '_'; };
  return !text.empty() && text.size() <= kMaxNameLength && lower(text[0]) &&
         std::all_of(text.begin(), text.end(), inside);
}

// "HOST", "HOST:PORT", "[ADDRESS]" or "[ADDRESS]:PORT", with the port that is meant.
Result<std::string> parse_host(std::string_view text) {
  const std::size_t bracket = text.rfind(']');
  const std::size_t colon = text.find(':', bracket == std::string_view::npos ? 0 : bracket);
  const std::string_view host = text.substr(0, colon);
  const bool plain = host.find_first_of("[]/, ") == std::string_view::npos;
  const bool bracketed = host.size() > 2 && host.front() == '[' && bracket == host.size() - 1;
  if (host.empty() || !(plain || bracketed)) {
    return invalid(format("cassandra host is \"{}\", wanted is HOST, HOST:PORT or [ADDRESS]:PORT", text));
  }
  if (colon == std::string_view::npos) return format("{}:{}", host, kDefaultPort);
  const std::optional<int> port = parse_number(text.substr(colon + 1), 1, 65535);
  if (!port) return invalid(format("port of cassandra host \"{}\" is not a number from 1 to 65535", text));
  return format("{}:{}", host, *port);
}

}  // namespace

std::optional<int> parse_number(std::string_view text, int least, int most) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size() || number < least || number > most) return {};
  return number;
}

Result<void> check(const ClusterOptions& options) {
  if (options.hosts.empty()) return invalid("there is no cassandra host");
  if (!is_name(options.keyspace)) {
    return invalid(
        format("cassandra keyspace is \"{}\", wanted are at most {} lower-case letters, digits and _, a "
               "letter first",
               options.keyspace, kMaxNameLength));
  }
  if (options.datacenter.find('\'') != std::string::npos) {
    return invalid(format("cassandra data centre {} has a quote in its name", options.datacenter));
  }
  if (options.replication < 1) {
    return invalid(format("cassandra replication is {}, the least is 1", options.replication));
  }
  if (options.buckets < 1 || options.buckets > kMaxBuckets) {
    return invalid(format("cassandra buckets are {}, limits are 1 and {}", options.buckets, kMaxBuckets));
  }
  if (options.retention.count() < 0 || options.retention > kMostRetention) {
    return invalid(format("cassandra retention is {} days, limits are 0 and {}", options.retention.count(),
                          kMostRetention.count()));
  }
  if (options.plain_table.empty()) return {};
  if (!is_name(options.plain_table)) {
    return invalid(format(
        "cassandra table is \"{}\", wanted are at most {} lower-case letters, digits and _, a letter first",
        options.plain_table, kMaxNameLength));
  }
  ClusterOptions without = options;
  without.plain_table.clear();
  for (const Table& table : tables_of(without)) {
    if (table.name == options.plain_table) {
      return invalid(format("cassandra table {} is espy's own", options.plain_table));
    }
  }
  return {};
}

Result<ClusterOptions> parse_cluster(std::string_view text) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos) {
    return invalid(format("cassandra is \"{}\", wanted is HOST[,HOST...]/KEYSPACE", text));
  }
  ClusterOptions options;
  options.keyspace = text.substr(slash + 1);
  std::string_view hosts = text.substr(0, slash);
  while (true) {
    const std::size_t comma = hosts.find(',');
    Result<std::string> host = parse_host(hosts.substr(0, comma));
    if (!host) return std::move(host).error();
    options.hosts.push_back(*std::move(host));
    if (comma == std::string_view::npos) break;
    hosts.remove_prefix(comma + 1);
  }
  if (Result<void> right = check(options); !right) return std::move(right).error();
  return options;
}

}  // namespace espy::cassandra
