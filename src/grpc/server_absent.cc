// The server of builds without gRPC (ESPY_GRPC=OFF).
#include "grpc/server.h"

namespace espy::grpc {

std::vector<std::string> guest_routes() { return {}; }

Result<std::unique_ptr<Server>> Server::open(const ServerOptions&, http::Server&) {
  return Error{ErrorCode::invalid_input, "this espy was built without gRPC (ESPY_GRPC=OFF)"};
}

}  // namespace espy::grpc
