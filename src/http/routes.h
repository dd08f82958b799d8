// What each path answers. Knows HTTP's meaning but no sockets: a request goes in, an answer comes out, at
// once or when the record is on disk.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/description.h"
#include "http/figures.h"
#include "http/gate.h"
#include "http/message.h"
#include "http/multipart.h"
#include "http/query.h"
#include "service/classifier.h"
#include "service/tensor.h"

namespace espy::http {

// Threads: all functions may be called from any thread at once.
class Routes {
 public:
  // Called once, on the lane's thread; perhaps before answer() returns.
  using Respond = std::function<void(Response)>;

  // A compressed body may have so many bytes when it is inflated. `guest_routes` are measured beside ours.
  Routes(service::Classifier& classifier, const Gate& gate,
         std::size_t max_body_bytes = std::size_t{16} << 20, std::vector<std::string> guest_routes = {});

  // Answers one request; takes its body. Returns the route's place in table(), table().size() when none took
  // it.
  std::size_t answer(Request& request, service::Lane& lane, Respond respond) const;

  // Returns what tells a client that its request failed before or beside its route: in the shape of the
  // dialect that the path belongs to.
  static Response refusal(std::string_view path, int status, std::string_view message);
  // The same of a request as far as it was read, with what a page of another origin needs to read it.
  Response refusal(const Request& request, int status, std::string_view message) const;

  // Until the first call, and from the second on, /readyz says that no requests should come.
  void begin_serving() { serving_ = true; }
  void begin_stopping() { stopping_ = true; }

  enum class Readiness { ready, starting, draining, store_failing, no_model };
  Readiness readiness() const;
  // Returns why no requests should come; nothing when they should.
  static std::string_view why_not(Readiness readiness);

  // What /metrics shows of requests and connections.
  Figures& figures() { return figures_; }

  struct Call;

  struct Route {
    Method method;                                 // get answers HEAD as well
    std::string_view path;                         // a segment in braces stands for any text
    std::span<const std::string_view> parameters;  // that its query may have
    void (Routes::*handler)(Call&) const;
    std::string_view summary;
    Description description;     // all of it has to be said: /openapi.json is made of it
    Scope scope = Scope::admin;  // what it asks of a key
  };

  // Returns every route there is; answer() goes by this table, and so does the description of the API.
  static std::span<const Route> table();

 private:
  void show_index(Call& call) const;
  void classify_form(Call& call) const;
  void show_history(Call& call) const;
  void show_upload(Call& call) const;
  void show_style(Call& call) const;
  void show_login(Call& call) const;
  void log_in(Call& call) const;
  void log_out(Call& call) const;
  void predict(Call& call) const;
  void list_records(Call& call) const;
  void find_record(Call& call) const;
  void correct_record(Call& call) const;
  void show_metrics(Call& call) const;
  void predict_together(Call& call, const service::Request& common, std::span<const Part* const> files) const;

  // models_routes.cc
  void list_models(Call& call) const;
  void choose_version(Call& call) const;

  // open_inference_routes.cc
  void show_inference_alive(Call& call) const;
  void show_inference_ready(Call& call) const;
  void show_inference_server(Call& call) const;
  void show_inference_model(Call& call) const;
  void show_inference_model_ready(Call& call) const;
  void infer(Call& call) const;
  void show_inference_statistics(Call& call) const;
  void list_repository(Call& call) const;
  void load_model(Call& call) const;
  void unload_model(Call& call) const;
  void change_repository(Call& call, const service::Lane::Change& change) const;

  // tensorflow_serving_routes.cc
  void list_servables(Call& call) const;
  void show_servable(Call& call) const;
  void show_servable_metadata(Call& call) const;
  void predict_servable(Call& call) const;
  void classify_servable(Call& call) const;
  void regress_servable(Call& call) const;
  Result<std::shared_ptr<const service::ServedModel>> servable(Call& call) const;
  void classify_pictures(Call& call, std::shared_ptr<const service::ServedModel> model,
                         std::vector<service::Picture> pictures,
                         std::function<std::string(std::span<const service::Answer>)> write) const;

  void show_openapi(Call& call) const;
  void show_docs(Call& call) const;
  void show_alive(Call& call) const;
  void show_ready(Call& call) const;

  void respond_denial(const Call& call, Gate::Denial denial) const;
  void compress_answer(Call& call) const;
  void refuse_target(Call& call, std::string_view resource) const;
  void respond_error(const Call& call, int status, std::string_view message) const;
  void respond_error(const Call& call, const Error& error) const;

  service::Classifier& classifier_;
  const Gate& gate_;
  const std::size_t max_body_bytes_;
  const std::vector<std::string> guest_routes_;
  Figures figures_;
  std::atomic<bool> serving_ = false;
  std::atomic<bool> stopping_ = false;
};

}  // namespace espy::http
