// Every route, and what the description of the API says of it.
#include <span>
#include <string_view>

#include "http/call.h"
#include "http/description.h"
#include "http/metrics.h"
#include "http/page.h"
#include "http/routes.h"

namespace espy::http {
namespace {

constexpr std::string_view kIndexParameters[] = {"model", "notice"};
constexpr std::string_view kFormParameters[] = {"model"};
constexpr std::string_view kPredictParameters[] = {"model", "file_name", "coverage", "id"};
constexpr std::string_view kPageParameters[] = {"model", "label",  "file_name", "from",
                                                "until", "before", "limit"};
constexpr std::string_view kListParameters[] = {"from",           "until",          "model",     "label",
                                                "min_confidence", "max_confidence", "file_name", "subject",
                                                "limit",          "before"};

constexpr std::string_view kPredictHeaders[] = {"Espy-Subject", "Idempotency-Key"};

constexpr Content kPage[] = {{kPageType, ""}};
constexpr Content kText[] = {{kTextType, ""}};
constexpr Content kPageOrText[] = {{kPageType, ""}, {kTextType, ""}};
constexpr Content kPageOrJson[] = {{kPageType, ""}, {kJsonType, "Error"}};
constexpr Content kPicture[] = {
    {"image/png", ""}, {"image/jpeg", ""}, {"image/gif", ""}, {"image/bmp", ""}, {"image/webp", ""}};
constexpr Content kFormBody[] = {{"multipart/form-data", "Form"}};
constexpr Content kPictureBodies[] = {{"image/*", ""}, {"multipart/form-data", "Form"}};
constexpr Content kLoginBody[] = {{"application/x-www-form-urlencoded", "Login"}};
constexpr Content kCorrectionBody[] = {{kJsonType, "CorrectionInput"}};
constexpr Content kAnswerBody[] = {{kJsonType, "AnswerOrRecords"}};
constexpr Content kRecordBody[] = {{kJsonType, "Record"}};
constexpr Content kListingBody[] = {{kJsonType, "Listing"}};
constexpr Content kModelsBody[] = {{kJsonType, "Models"}};
constexpr Content kStatusBody[] = {{kJsonType, "Status"}};
constexpr Content kReadinessBody[] = {{kJsonType, "Readiness"}};
constexpr Content kOpenApiBody[] = {{kJsonType, "OpenApi"}};
constexpr Content kMetricsBody[] = {{kMetricsType, ""}};
constexpr Content kStyleBody[] = {{kStyleType, ""}};

// A browser is answered with a page also where something is wrong.
constexpr Answer kIndexAnswers[] = {{200, "the page", kPage},
                                    {400, "a parameter is not as it must be", kPageOrText},
                                    {404, "there is no such model", kPageOrText}};
constexpr Answer kFormAnswers[] = {
    {200, "the page with the answer, or one line: The result is: 7", kPageOrText},
    {303, "no file was chosen", kText},
    {400, "no picture that can be decoded", kPageOrText},
    {404, "there is no such model", kPageOrText},
    {413, "the picture is too large", kPageOrText},
    {503, "the record cannot be kept; nothing was predicted", kPageOrText}};
constexpr Answer kHistoryPageAnswers[] = {{200, "the page", kPage},
                                          {400, "a filter is not as it must be", kPageOrJson}};
constexpr Answer kDocsAnswers[] = {{200, "the page", kPage}};
constexpr Answer kLoginAnswers[] = {{303, "the key is kept; on to the page that was asked for", kText},
                                    {400, "not the form that it must be", kPageOrJson},
                                    {401, "there is no such key", kPage}};
constexpr Answer kLogoutAnswers[] = {{303, "the key is forgotten", kText}};
constexpr Answer kUploadAnswers[] = {{200, "its bytes", kPicture}};
constexpr Answer kStyleAnswers[] = {{200, "the style sheet", kStyleBody}};
constexpr Answer kPredictAnswers[] = {{200, "the record, which is on disk", kAnswerBody}};
constexpr Answer kListingAnswers[] = {{200, "a page of records", kListingBody}};
constexpr Answer kRecordAnswers[] = {{200, "the record", kRecordBody}};
constexpr Answer kModelsAnswers[] = {{200, "the models", kModelsBody}};
constexpr Answer kMetricsAnswers[] = {{200, "the figures", kMetricsBody}};
constexpr Answer kAliveAnswers[] = {{200, "it does", kStatusBody}};
constexpr Answer kReadyAnswers[] = {{200, "they should", kStatusBody},
                                    {503, "starting, draining, or the store is failing", kReadinessBody}};
constexpr Answer kOpenApiAnswers[] = {{200, "the description", kOpenApiBody}};

constexpr Content kVersionBody[] = {{kJsonType, "VersionInput"}};
constexpr Answer kChosenAnswers[] = {{200, "it is so for every request from now on", kStatusBody}};

// The dialects that others made: their errors have another shape.
constexpr std::string_view kPlainError = "PlainError";
constexpr std::string_view kBinaryBody = "application/octet-stream";
constexpr std::string_view kInferHeaders[] = {"Espy-Subject", "Idempotency-Key",
                                              "Inference-Header-Content-Length"};
constexpr Content kInferBodies[] = {{kJsonType, "InferenceRequest"}, {kBinaryBody, ""}};
constexpr Content kInferContents[] = {{kJsonType, "InferenceResponse"}, {kBinaryBody, ""}};
constexpr Content kInferenceServerContent[] = {{kJsonType, "InferenceServer"}};
constexpr Content kInferenceLiveContent[] = {{kJsonType, "InferenceLive"}};
constexpr Content kInferenceReadyContent[] = {{kJsonType, "InferenceReady"}};
constexpr Content kInferenceModelContent[] = {{kJsonType, "InferenceModel"}};
constexpr Content kInferenceModelReadyContent[] = {{kJsonType, "InferenceModelReady"}};
constexpr Content kInferenceStatisticsContent[] = {{kJsonType, "InferenceStatistics"}};
constexpr Content kRepositoryBody[] = {{kJsonType, "RepositoryRequest"}};
constexpr bool kMayBeEmpty = false;  // a body that is not required
constexpr Content kRepositoryContent[] = {{kJsonType, "RepositoryIndex"}};
constexpr Content kServablesContent[] = {{kJsonType, "Servables"}};
constexpr Content kServableContent[] = {{kJsonType, "ServableStatus"}};
constexpr Content kServableMetadataContent[] = {{kJsonType, "ServableMetadata"}};
constexpr Content kServablePredictBody[] = {{kJsonType, "PredictRequest"}};
constexpr Content kServablePredictContent[] = {{kJsonType, "PredictResponse"}};
constexpr Content kServableClassifyBody[] = {{kJsonType, "ClassifyRequest"}};
constexpr Content kServableClassifyContent[] = {{kJsonType, "ClassifyResponse"}};
constexpr Answer kInferAnswers[] = {{200, "the answers, whose records are on disk", kInferContents}};
constexpr Answer kInferenceServerAnswers[] = {{200, "what it is", kInferenceServerContent}};
constexpr Answer kInferenceLiveAnswers[] = {{200, "it does", kInferenceLiveContent}};
constexpr Answer kInferenceReadyAnswers[] = {{200, "they should", kInferenceReadyContent}};
constexpr Answer kInferenceModelAnswers[] = {{200, "its tensors", kInferenceModelContent}};
constexpr Answer kInferenceModelReadyAnswers[] = {{200, "it does", kInferenceModelReadyContent}};
constexpr Answer kInferenceStatisticsAnswers[] = {{200, "the figures", kInferenceStatisticsContent}};
constexpr Answer kRepositoryAnswers[] = {{200, "the versions", kRepositoryContent}};
constexpr Answer kChangedAnswers[] = {{200, "it is so for every request from now on; without content", {}}};
constexpr Answer kServablesAnswers[] = {{200, "the names", kServablesContent}};
constexpr Answer kServableAnswers[] = {{200, "the states", kServableContent}};
constexpr Answer kServableMetadataAnswers[] = {{200, "the signatures", kServableMetadataContent}};
constexpr Answer kServablePredictAnswers[] = {
    {200, "the answers, whose records are on disk", kServablePredictContent}};
constexpr Answer kServableClassifyAnswers[] = {
    {200, "the classes; records are on disk", kServableClassifyContent}};

}  // namespace

std::span<const Routes::Route> Routes::table() {
  static constexpr Route kRoutes[] = {
      {Method::get,
       "/",
       kIndexParameters,
       &Routes::show_index,
       "the page with the form",
       {"showIndex", kPages, {}, {}, kIndexAnswers},
       Scope::predict},
      {Method::post,
       "/",
       kFormParameters,
       &Routes::classify_form,
       "classifies the picture in the form's field file; a page for browsers, a line of text for others",
       {"classifyForm", kPages, kPredictHeaders, kFormBody, kFormAnswers},
       Scope::predict},
      {Method::get,
       "/history",
       kPageParameters,
       &Routes::show_history,
       "the page of past predictions",
       {"showHistory", kPages, {}, {}, kHistoryPageAnswers},
       Scope::history},
      {Method::get,
       "/docs",
       {},
       &Routes::show_docs,
       "the page that describes this API",
       {"showDocs", kPages, {}, {}, kDocsAnswers},
       Scope::none},
      {Method::get,
       "/openapi.json",
       {},
       &Routes::show_openapi,
       "this API, as OpenAPI 3.1 describes it",
       {"describe", kOperations, {}, {}, kOpenApiAnswers},
       Scope::none},
      {Method::get,
       "/uploads/{name}",
       {},
       &Routes::show_upload,
       "a picture as it was uploaded",
       {"showUpload", kPredictions, {}, {}, kUploadAnswers},
       Scope::history},
      {Method::get,
       "/style.css",
       {},
       &Routes::show_style,
       "the pages' style sheet",
       {"showStyle", kPages, {}, {}, kStyleAnswers},
       Scope::none},
      {Method::get,
       "/login",
       {},
       &Routes::show_login,
       "the page that asks a browser for its key",
       {"showLogin", kPages, {}, {}, kDocsAnswers},
       Scope::none},
      {Method::post,
       "/login",
       {},
       &Routes::log_in,
       "keeps a key in the browser",
       {"logIn", kPages, {}, kLoginBody, kLoginAnswers},
       Scope::none},
      {Method::post,
       "/logout",
       {},
       &Routes::log_out,
       "makes the browser forget its key",
       {"logOut", kPages, {}, {}, kLogoutAnswers},
       Scope::none},
      {Method::post,
       "/api/predict",
       kPredictParameters,
       &Routes::predict,
       "classifies a picture, the body itself or the part file of a form; its record, once that is on disk",
       {"predict", kPredictions, kPredictHeaders, kPictureBodies, kPredictAnswers},
       Scope::predict},
      {Method::get,
       "/api/history",
       kListParameters,
       &Routes::list_records,
       "records, newest first",
       {"listRecords", kPredictions, {}, {}, kListingAnswers},
       Scope::history},
      {Method::get,
       "/api/history/{id}",
       {},
       &Routes::find_record,
       "one record",
       {"findRecord", kPredictions, {}, {}, kRecordAnswers},
       Scope::history},
      {Method::post,
       "/api/history/{id}/correction",
       {},
       &Routes::correct_record,
       "appends a person's right label; the record, once that is on disk",
       {"correctRecord", kPredictions, {}, kCorrectionBody, kRecordAnswers},
       Scope::history},
      {Method::get,
       "/api/models",
       {},
       &Routes::list_models,
       "the models and versions that there are",
       {"listModels", kModels, {}, {}, kModelsAnswers},
       Scope::predict},
      {Method::post,
       "/api/models/{name}/default",
       {},
       &Routes::choose_version,
       "chooses the version that answers when none is named, or gives one a label",
       {"chooseVersion", kModels, {}, kVersionBody, kChosenAnswers},
       Scope::admin},
      {Method::post,
       "/v2/models/{name}/infer",
       {},
       &Routes::infer,
       "classifies the pictures of a tensor",
       {"infer", kOpenInference, kInferHeaders, kInferBodies, kInferAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v2/models/{name}/versions/{version}/infer",
       {},
       &Routes::infer,
       "the same, with a version of the model",
       {"inferVersion", kOpenInference, kInferHeaders, kInferBodies, kInferAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}:predict",
       {},
       &Routes::predict_servable,
       "classifies the pictures of instances or inputs",
       {"predictServable", kTensorFlowServing, kPredictHeaders, kServablePredictBody, kServablePredictAnswers,
        kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}/versions/{version}:predict",
       {},
       &Routes::predict_servable,
       "the same, with a version of the model",
       {"predictServableVersion", kTensorFlowServing, kPredictHeaders, kServablePredictBody,
        kServablePredictAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}/labels/{label}:predict",
       {},
       &Routes::predict_servable,
       "the same, with the version that has a label",
       {"predictServableLabel", kTensorFlowServing, kPredictHeaders, kServablePredictBody,
        kServablePredictAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}:classify",
       {},
       &Routes::classify_servable,
       "every class of each example with its score",
       {"classifyServable", kTensorFlowServing, kPredictHeaders, kServableClassifyBody,
        kServableClassifyAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}/versions/{version}:classify",
       {},
       &Routes::classify_servable,
       "the same, with a version of the model",
       {"classifyServableVersion", kTensorFlowServing, kPredictHeaders, kServableClassifyBody,
        kServableClassifyAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}/labels/{label}:classify",
       {},
       &Routes::classify_servable,
       "the same, with the version that has a label",
       {"classifyServableLabel", kTensorFlowServing, kPredictHeaders, kServableClassifyBody,
        kServableClassifyAnswers, kPlainError},
       Scope::predict},
      {Method::post,
       "/v1/models/{name}:regress",
       {},
       &Routes::regress_servable,
       "refused: the models classify",
       {"regressServable", kTensorFlowServing, {}, {}, {}, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models",
       {},
       &Routes::list_servables,
       "the names of the models",
       {"listServables", kTensorFlowServing, {}, {}, kServablesAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}",
       {},
       &Routes::show_servable,
       "the state of each version of a model",
       {"showServable", kTensorFlowServing, {}, {}, kServableAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}/versions/{version}",
       {},
       &Routes::show_servable,
       "the state of a version",
       {"showServableVersion", kTensorFlowServing, {}, {}, kServableAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}/labels/{label}",
       {},
       &Routes::show_servable,
       "the state of the version that has a label",
       {"showServableLabel", kTensorFlowServing, {}, {}, kServableAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}/metadata",
       {},
       &Routes::show_servable_metadata,
       "the signatures of a model",
       {"showServableMetadata", kTensorFlowServing, {}, {}, kServableMetadataAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}/versions/{version}/metadata",
       {},
       &Routes::show_servable_metadata,
       "the signatures of a version",
       {"showServableMetadataVersion", kTensorFlowServing, {}, {}, kServableMetadataAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v1/models/{name}/labels/{label}/metadata",
       {},
       &Routes::show_servable_metadata,
       "the signatures of the version that has a label",
       {"showServableMetadataLabel", kTensorFlowServing, {}, {}, kServableMetadataAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2",
       {},
       &Routes::show_inference_server,
       "name, version and extensions of the server",
       {"showInferenceServer", kOpenInference, {}, {}, kInferenceServerAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/health/live",
       {},
       &Routes::show_inference_alive,
       "whether the process answers",
       {"isInferenceAlive", kOpenInference, {}, {}, kInferenceLiveAnswers, kPlainError},
       Scope::none},
      {Method::get,
       "/v2/health/ready",
       {},
       &Routes::show_inference_ready,
       "whether requests should be sent here",
       {"isInferenceReady", kOpenInference, {}, {}, kInferenceReadyAnswers, kPlainError},
       Scope::none},
      {Method::get,
       "/v2/models/stats",
       {},
       &Routes::show_inference_statistics,
       "what became of the requests for each model",
       {"showInferenceStatistics", kOpenInference, {}, {}, kInferenceStatisticsAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}",
       {},
       &Routes::show_inference_model,
       "inputs and outputs of a model",
       {"showInferenceModel", kOpenInference, {}, {}, kInferenceModelAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}/versions/{version}",
       {},
       &Routes::show_inference_model,
       "inputs and outputs of a version",
       {"showInferenceModelVersion", kOpenInference, {}, {}, kInferenceModelAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}/ready",
       {},
       &Routes::show_inference_model_ready,
       "whether a model answers",
       {"isInferenceModelReady", kOpenInference, {}, {}, kInferenceModelReadyAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}/versions/{version}/ready",
       {},
       &Routes::show_inference_model_ready,
       "whether a version answers",
       {"isInferenceModelReadyVersion", kOpenInference, {}, {}, kInferenceModelReadyAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}/stats",
       {},
       &Routes::show_inference_statistics,
       "what became of the requests for a model",
       {"showInferenceModelStatistics", kOpenInference, {}, {}, kInferenceStatisticsAnswers, kPlainError},
       Scope::predict},
      {Method::get,
       "/v2/models/{name}/versions/{version}/stats",
       {},
       &Routes::show_inference_statistics,
       "what became of the requests for a version",
       {"showInferenceModelStatisticsVersion",
        kOpenInference,
        {},
        {},
        kInferenceStatisticsAnswers,
        kPlainError},
       Scope::predict},
      {Method::post,
       "/v2/repository/index",
       {},
       &Routes::list_repository,
       "every version that there is, and why it is not served",
       {"listRepository", kOpenInference, {}, kRepositoryBody, kRepositoryAnswers, kPlainError, kMayBeEmpty},
       Scope::predict},
      {Method::post,
       "/v2/repository/models/{name}/load",
       {},
       &Routes::load_model,
       "loads a model, or loads it anew",
       {"loadModel", kOpenInference, {}, kRepositoryBody, kChangedAnswers, kPlainError, kMayBeEmpty},
       Scope::admin},
      {Method::post,
       "/v2/repository/models/{name}/unload",
       {},
       &Routes::unload_model,
       "serves a model no more",
       {"unloadModel", kOpenInference, {}, kRepositoryBody, kChangedAnswers, kPlainError, kMayBeEmpty},
       Scope::admin},
      {Method::get,
       "/livez",
       {},
       &Routes::show_alive,
       "whether the process answers",
       {"isAlive", kOperations, {}, {}, kAliveAnswers},
       Scope::none},
      {Method::get,
       "/metrics",
       {},
       &Routes::show_metrics,
       "figures in Prometheus's text format",
       {"showMetrics", kOperations, {}, {}, kMetricsAnswers},
       Scope::admin},
      {Method::get,
       "/readyz",
       {},
       &Routes::show_ready,
       "whether requests should be sent here",
       {"isReady", kOperations, {}, {}, kReadyAnswers},
       Scope::none},
  };
  return kRoutes;
}

}  // namespace espy::http
