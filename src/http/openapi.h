// The API described by itself: everything comes from the routes' table and schemas.json.
#pragma once

#include <span>
#include <string>

#include "http/routes.h"

namespace espy::http {

// Returns an OpenAPI 3.1.0 document. Every parameter of a route must be known to openapi.cc, which is
// asserted.
std::string openapi_document(std::span<const Routes::Route> routes);

// Returns the same as a page, without script and without anything from elsewhere.
std::string docs_page(std::span<const Routes::Route> routes);

}  // namespace espy::http
