#include "http/gate.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.h"
#include "base/format.h"

namespace espy::http {
namespace {

class GateTest : public ::testing::Test {
 protected:
  GateTest() : path_(std::filesystem::temp_directory_path() / format("espy-keys-{}", ::getpid())) {
    write(ann_.line + "\n" + bob_.line + "\n");
  }
  ~GateTest() override { std::filesystem::remove(path_); }

  void write(const std::string& text) { ASSERT_TRUE(write_file(path_, as_bytes(text))); }

  std::unique_ptr<Gate> open(GateOptions options = {}) {
    options.keys = path_;
    auto gate = Gate::open(std::move(options));
    EXPECT_TRUE(gate);
    return *std::move(gate);
  }

  static Request get(std::string key = "", std::string cookie = "") {
    Request request;
    request.method = Method::get;
    request.host = "localhost:5000";
    request.key = std::move(key);
    request.cookie = std::move(cookie);
    return request;
  }

  static int status(const Gate& gate, const Request& request, Scope scope) {
    const auto denial = gate.deny(request, scope);
    return denial ? denial->status : 0;
  }

  const NewKey ann_ = *make_key("ann", {"predict"});
  const NewKey bob_ = *make_key("bob", {"history", "admin"});
  const std::filesystem::path path_;
};

TEST_F(GateTest, WithoutKeysEverybodyMayDoEverything) {
  const auto gate = *Gate::open({});
  for (const Scope scope : {Scope::none, Scope::predict, Scope::history, Scope::admin}) {
    EXPECT_EQ(status(*gate, get(), scope), 0);
  }
}

TEST_F(GateTest, AKeyMayWhatItsScopesSay) {
  const auto gate = open();
  EXPECT_EQ(status(*gate, get(), Scope::none), 0);
  EXPECT_EQ(status(*gate, get(), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get("espy_wrong"), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get(ann_.secret), Scope::predict), 0);
  EXPECT_EQ(status(*gate, get(ann_.secret), Scope::history), 403);
  EXPECT_EQ(status(*gate, get(bob_.secret), Scope::predict), 403);
  EXPECT_EQ(status(*gate, get(bob_.secret), Scope::admin), 0);
  EXPECT_EQ(gate->deny(get(), Scope::predict)->fields, "WWW-Authenticate: Bearer realm=\"espy\"\r\n");
}

TEST_F(GateTest, ABrowserSendsTheKeyAsACookie) {
  const auto gate = open();
  EXPECT_EQ(status(*gate, get("", "theme=dark; espy_key=" + ann_.secret + "; x=y"), Scope::predict), 0);
  EXPECT_EQ(status(*gate, get("", "espy_key=" + ann_.secret), Scope::predict), 0);
  EXPECT_EQ(status(*gate, get("", "espy_keys=" + ann_.secret), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get("", "xespy_key=" + ann_.secret), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get("", "espy_key"), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get("espy_wrong", "espy_key=" + ann_.secret), Scope::predict), 401);
  Request request = get();
  EXPECT_EQ(Gate::session_cookie("espy_1", request),
            "Set-Cookie: espy_key=espy_1; HttpOnly; SameSite=Strict; Path=/\r\n");
  request.origin = "https://example.org";
  EXPECT_EQ(Gate::session_cookie("", request),
            "Set-Cookie: espy_key=; HttpOnly; SameSite=Strict; Path=/; Secure; Max-Age=0\r\n");
}

TEST_F(GateTest, KeysAreReadAgainAndAFileThatIsBrokenChangesNothing) {
  const auto gate = open();
  write("nonsense\n");
  const Result<void> reloaded = gate->reload();
  ASSERT_FALSE(reloaded);
  EXPECT_EQ(reloaded.error().code, ErrorCode::invalid_input);
  EXPECT_NE(reloaded.error().message.find("line 1"), std::string::npos) << reloaded.error().message;
  EXPECT_EQ(status(*gate, get(ann_.secret), Scope::predict), 0);
  write(bob_.line + "\n");
  EXPECT_TRUE(gate->reload());
  EXPECT_EQ(status(*gate, get(ann_.secret), Scope::predict), 401);
  EXPECT_EQ(status(*gate, get(bob_.secret), Scope::history), 0);
  EXPECT_EQ(Gate::open({.keys = path_ / "nowhere"}).error().code, ErrorCode::unavailable);
}

TEST_F(GateTest, LimitsAKeyOrAnAddress) {
  const auto gate = open({.keys = {}, .requests_per_second = 2, .cors_origins = {}});
  Request first = get();
  first.client = 1;
  Request second = get();
  second.client = 2;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(status(*gate, first, Scope::predict), 401);
  const auto denial = gate->deny(first, Scope::predict);
  ASSERT_TRUE(denial);
  EXPECT_EQ(denial->status, 429);
  EXPECT_EQ(denial->fields, "Retry-After: 1\r\n");
  EXPECT_EQ(status(*gate, first, Scope::none), 0) << "probes are free";
  EXPECT_EQ(status(*gate, second, Scope::predict), 401);
  first.key = ann_.secret;
  second.key = ann_.secret;
  EXPECT_EQ(status(*gate, first, Scope::predict), 0) << "a key has a bucket of its own";
  EXPECT_EQ(status(*gate, second, Scope::predict), 0);
  EXPECT_EQ(status(*gate, first, Scope::predict), 429) << "whatever address it comes from";
}

TEST_F(GateTest, NoPageOfAnotherOriginPosts) {
  const auto gate = *Gate::open({});
  Request request = get();
  request.method = Method::post;
  EXPECT_EQ(status(*gate, request, Scope::predict), 0) << "programs say nothing";
  for (const auto& [site, expected] :
       {std::pair("same-origin", 0), {"none", 0}, {"same-site", 403}, {"cross-site", 403}}) {
    request.fetch_site = site;
    EXPECT_EQ(status(*gate, request, Scope::predict), expected) << site;
  }
  request.fetch_site.clear();
  for (const auto& [origin, expected] : {std::pair("http://localhost:5000", 0),
                                         {"http://localhost:5001", 403},
                                         {"https://evil.example", 403},
                                         {"null", 403}}) {
    request.origin = origin;
    EXPECT_EQ(status(*gate, request, Scope::predict), expected) << origin;
  }
  request.method = Method::get;
  EXPECT_EQ(status(*gate, request, Scope::predict), 0) << "its answer cannot be read there";
}

TEST_F(GateTest, OnlyNamedOriginsMayAsk) {
  EXPECT_EQ((*Gate::open({}))->cors_fields(get()), "");
  const auto gate = *Gate::open({.keys = {}, .cors_origins = {"https://a.example"}});
  Request request = get();
  request.origin = "https://a.example";
  EXPECT_EQ(gate->cors_fields(request),
            "Vary: Origin\r\nAccess-Control-Allow-Origin: https://a.example\r\n"
            "Access-Control-Expose-Headers: Content-Encoding, Inference-Header-Content-Length, Retry-After, "
            "X-Request-Id\r\n");
  request.method = Method::post;
  request.fetch_site = "cross-site";
  EXPECT_EQ(status(*gate, request, Scope::predict), 0);
  request.is_preflight = true;
  EXPECT_NE(gate->cors_fields(request).find("Access-Control-Allow-Headers: Authorization"),
            std::string::npos);
  request.origin = "https://a.example.evil";
  EXPECT_EQ(gate->cors_fields(request), "Vary: Origin\r\n");
  EXPECT_EQ(status(*gate, request, Scope::predict), 403);
  for (const std::string wrong : {"a.example", "https://", "https://a.example/", "https://a b"}) {
    EXPECT_FALSE(Gate::open({.keys = {}, .cors_origins = {wrong}})) << wrong;
  }
}

TEST_F(GateTest, AClientIsAnAddressOrTheFirstHalfOfOne) {
  const auto gate = open({.keys = {}, .requests_per_second = 1});
  const auto client = [&](std::vector<unsigned char> address) {
    return gate->client_of(std::as_bytes(std::span(address)));
  };
  const std::uint64_t one = client({192, 0, 2, 1});
  EXPECT_NE(one, client({192, 0, 2, 2}));
  EXPECT_EQ(one, client({0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1}));
  const std::uint64_t six = client({0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1});
  EXPECT_EQ(six, client({0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9}));
  EXPECT_NE(six, client({0x20, 1, 0xd, 0xb8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1}));
  const auto without = open();
  EXPECT_EQ(without->client_of(std::as_bytes(std::span("\x7f\0\0\1", 4))), 0u);
}

}  // namespace
}  // namespace espy::http
