// What each path answers. Knows HTTP's meaning but no sockets: a request goes in, an answer comes out, at
// once or when the record is on disk.
#pragma once

#include <atomic>
#include <functional>
#include <span>
#include <string_view>

#include "http/message.h"
#include "http/query.h"
#include "service/classifier.h"

namespace espy::http {

// Threads: all functions may be called from any thread at once.
class Routes {
 public:
  // Called once, on the lane's thread; perhaps before answer() returns.
  using Respond = std::function<void(Response)>;

  explicit Routes(service::Classifier& classifier);

  // Answers one request; takes its body.
  void answer(Request& request, service::Lane& lane, Respond respond) const;

  // From now on /readyz says that no more requests should come.
  void begin_stopping() { stopping_ = true; }

  struct Call;

  struct Route {
    Method method;                                 // get answers HEAD as well
    std::string_view path;                         // a segment in braces stands for any text
    std::span<const std::string_view> parameters;  // that its query may have
    void (Routes::*handler)(Call&) const;
    std::string_view summary;
  };

  // Returns every route there is; answer() goes by this table, and so can a description of the API.
  static std::span<const Route> table();

 private:
  void show_index(Call& call) const;
  void classify_form(Call& call) const;
  void show_history(Call& call) const;
  void show_upload(Call& call) const;
  void show_style(Call& call) const;
  void predict(Call& call) const;
  void list_records(Call& call) const;
  void find_record(Call& call) const;
  void correct_record(Call& call) const;
  void show_metrics(Call& call) const;
  void list_models(Call& call) const;
  void show_alive(Call& call) const;
  void show_ready(Call& call) const;

  void respond_error(const Call& call, int status, std::string_view message) const;
  void respond_error(const Call& call, const Error& error) const;

  service::Classifier& classifier_;
  std::atomic<bool> stopping_ = false;
};

}  // namespace espy::http
