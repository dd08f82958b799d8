// Encrypted connections: the certificate and what is agreed on with clients.
#pragma once

#include <boost/asio/ssl/context.hpp>
#include <filesystem>
#include <memory>

#include "base/result.h"

namespace espy::http {

// Reads a certificate, with the chain that leads to it, and its key, both PEM, for TLS 1.2 and 1.3. A
// connection keeps what it began with, so the context may be replaced at any time.
// Errors: invalid_input (a file that cannot be read or is none, a key of another certificate).
Result<std::shared_ptr<boost::asio::ssl::context>> load_tls(const std::filesystem::path& certificate,
                                                            const std::filesystem::path& key);

}  // namespace espy::http
