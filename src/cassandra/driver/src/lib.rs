//! The C ABI of espy_cql.h over the driver `scylla`. Foreign code never runs on the driver's threads: completions are
//! queued, and the other side fetches them. No panic crosses the ABI.
use std::collections::{HashMap, VecDeque};
use std::ffi::{c_char, c_void};
use std::future::Future;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::*};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use openssl::ssl::{SslConnector, SslMethod};
use scylla::client::execution_profile::ExecutionProfile;
use scylla::client::session::{OpenSsl010Config, Session};
use scylla::client::session_builder::SessionBuilder;
use scylla::deserialize::row::ColumnIterator;
use scylla::errors::{
    BadQuery, ConnectionError, ConnectionPoolError, ConnectionSetupRequestErrorKind, DbError, ExecutionError,
    MetadataError, NewSessionError, PrepareError, RequestAttemptError,
};
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::response::{PagingState, PagingStateResponse};
use scylla::serialize::row::{RowSerializationContext, SerializeRow};
use scylla::serialize::writers::RowWriter;
use scylla::serialize::SerializationError;
use scylla::statement::prepared::PreparedStatement;
use scylla::statement::{Consistency, Statement};
use tokio::sync::watch;

const ABI: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes {
    bytes: *const u8,
    size: usize,
}

#[repr(C)]
pub struct COptions {
    abi: u32,
    io_threads: u32,
    max_outstanding: u32,
    connect_ms: u32,
    keepalive_ms: u32,
    consistency: u32,
    tls: u32,
    hosts: Bytes,
    datacenter: Bytes,
    user: Bytes,
    password: Bytes,
    ca_file: Bytes,
}

#[repr(C)]
pub struct CRequest {
    tag: u64,
    statement: Bytes,
    values: Bytes,
    value_count: u32,
    prepare: u32,
    timeout_ms: u32,
    page_size: u32,
    page: Bytes,
}

#[repr(C)]
pub struct CCompletion {
    tag: u64,
    status: i32,
    reason: i32,
    row_count: u32,
    column_count: u32,
    rows: Bytes,
    next_page: Bytes,
    message: Bytes,
    owner: *mut c_void,
}

// The other side asserts the same numbers (driver.cc).
const _: () =
    assert!(size_of::<COptions>() == 112 && size_of::<CRequest>() == 72 && size_of::<CCompletion>() == 80);

const OK: i32 = 0;
const RETRY: i32 = 1;
const REJECT: i32 = 2;
const PANIC: i32 = 3;

const NONE: i32 = 0;
const NO_CONNECTION: i32 = 1;
const LOGIN_REFUSED: i32 = 2;
const UNAVAILABLE: i32 = 3;
const SERVER_TIMEOUT: i32 = 4;
const CLIENT_TIMEOUT: i32 = 5;
const OVERLOADED: i32 = 6;
const BROKEN: i32 = 7;
const UNAUTHORIZED: i32 = 8;
const INVALID: i32 = 9;
const SHUTDOWN: i32 = 10;
const OTHER: i32 = 11;

const DONE: i32 = 0;
const BAD_OPTIONS: i32 = -1;
const FULL: i32 = -2;
const CLOSED: i32 = -3;
const PANICKED: i32 = -5;

/// How long the driver's threads are waited for after the last request was given up.
const END_OF_THREADS: Duration = Duration::from_secs(1);
/// Name resolution is the only thing that blocks, and there are few names.
const BLOCKING_THREADS: usize = 4;
/// How often the nodes' connections are looked at. A node takes longer than that to start.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
/// A node of a cluster of `ENOUGH_NODES` that goes away again within this time is not counted again: it would have
/// everything sent again without end, although what was confirmed at a quorum is safe with the others by then. What one
/// node alone confirmed is not.
const FLAPPING: Duration = Duration::from_secs(60);
const ENOUGH_NODES: usize = 3;

struct Settings {
    hosts: Vec<String>,
    datacenter: String,
    login: Option<(String, String)>,
    connect: Duration,
    keepalive: Duration,
    consistency: Consistency,
    tls: Option<OpenSsl010Config>,
}

#[derive(Clone, Debug)]
struct Failure {
    status: i32,
    reason: i32,
    message: String,
}

#[derive(Default)]
struct Answer {
    row_count: u32,
    column_count: u32,
    rows: Vec<u8>,
    next_page: Vec<u8>,
}

/// What becomes of a request.
type Outcome = Result<Answer, Failure>;

struct Request {
    statement: String,
    values: Cells,
    prepare: bool,
    timeout: Duration,
    page_size: i32,
    page: PagingState,
}

enum Connection {
    Pending,
    Failed(Failure),
    Ready(Arc<Ready>),
}

struct Ready {
    session: Session,
    prepared: Mutex<HashMap<String, PreparedStatement>>,
}

struct Finished {
    tag: u64,
    outcome: Outcome,
}

struct Shared {
    settings: Settings,
    connection: watch::Sender<Connection>,
    finished: Mutex<VecDeque<Finished>>,
    arrived: Condvar,
    in_flight: AtomicUsize,   // submitted, completion not yet queued
    outstanding: AtomicUsize, // submitted, completion not yet fetched
    losses: AtomicU64, // of nodes
    closing: AtomicBool,
    closed: AtomicBool,
}

/// A lock that a panic elsewhere does not spoil: what it guards is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Exactly one completion a request: whatever ends its task (an outcome, a panic, a shutdown), dropping this queues it.
struct Promise {
    shared: Arc<Shared>,
    tag: u64,
    outcome: Option<Outcome>,
}

impl Drop for Promise {
    fn drop(&mut self) {
        let outcome = self.outcome.take().unwrap_or_else(|| {
            Err(if std::thread::panicking() {
                Failure { status: PANIC, reason: OTHER, message: "the Cassandra driver panicked".to_owned() }
            } else {
                Failure {
                    status: RETRY,
                    reason: SHUTDOWN,
                    message: "the Cassandra driver is being closed".to_owned(),
                }
            })
        });
        lock(&self.shared.finished).push_back(Finished { tag: self.tag, outcome });
        self.shared.in_flight.fetch_sub(1, AcqRel);
        self.shared.arrived.notify_one();
    }
}

pub struct Driver {
    shared: Arc<Shared>,
    runtime: Mutex<Option<tokio::runtime::Runtime>>,
    max_outstanding: usize,
}

/// Values in the protocol's own form, so that they only need to be copied.
struct Cells {
    bytes: Vec<u8>,
    count: u32,
}

impl SerializeRow for Cells {
    fn serialize(
        &self,
        _: &RowSerializationContext<'_>,
        writer: &mut RowWriter,
    ) -> Result<(), SerializationError> {
        let broken = || SerializationError::new(std::io::Error::other("the values are cut off"));
        let mut rest = &self.bytes[..];
        for _ in 0..self.count {
            let (size, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
            let cell = writer.make_cell_writer();
            rest = after;
            match i32::from_be_bytes(*size) {
                -1 => drop(cell.set_null()),
                -2 => drop(cell.set_unset()),
                size => {
                    let size = usize::try_from(size).map_err(|_| broken())?;
                    let (value, after) = rest.split_at_checked(size).ok_or_else(broken)?;
                    let _written = cell.set_value(value).map_err(SerializationError::new)?;
                    rest = after;
                }
            }
        }
        if rest.is_empty() {
            Ok(())
        } else {
            Err(broken())
        }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn reason_of_connection(error: &ConnectionError) -> i32 {
    match error {
        ConnectionError::ConnectionSetupRequestError(setup) => match &setup.error {
            ConnectionSetupRequestErrorKind::DbError(
                DbError::AuthenticationError | DbError::Unauthorized,
                _,
            )
            | ConnectionSetupRequestErrorKind::MissingAuthentication => LOGIN_REFUSED,
            _ => NO_CONNECTION,
        },
        _ => NO_CONNECTION,
    }
}

fn reason_of_pool(error: &ConnectionPoolError) -> i32 {
    match error {
        ConnectionPoolError::Broken { last_connection_error } => reason_of_connection(last_connection_error),
        _ => NO_CONNECTION,
    }
}

fn of_new_session(error: &NewSessionError) -> Failure {
    let reason = match error {
        NewSessionError::MetadataError(MetadataError::ConnectionPoolError(pool)) => reason_of_pool(pool),
        _ => NO_CONNECTION,
    };
    Failure { status: RETRY, reason, message: error.to_string() }
}

/// Only what blames the request is REJECT: missing rights or a missing table concern all requests alike.
fn of_attempt(error: &RequestAttemptError) -> (i32, i32) {
    match error {
        RequestAttemptError::BrokenConnectionError(_) | RequestAttemptError::UnableToAllocStreamId => {
            (RETRY, BROKEN)
        }
        RequestAttemptError::SerializationError(_) | RequestAttemptError::CqlRequestSerialization(_) => {
            (REJECT, INVALID)
        }
        RequestAttemptError::DbError(error, _) => match error {
            DbError::WriteTimeout { .. } | DbError::ReadTimeout { .. } => (RETRY, SERVER_TIMEOUT),
            DbError::Unavailable { .. } => (RETRY, UNAVAILABLE),
            DbError::Overloaded | DbError::IsBootstrapping | DbError::RateLimitReached { .. } => {
                (RETRY, OVERLOADED)
            }
            DbError::Unauthorized => (RETRY, UNAUTHORIZED),
            DbError::AuthenticationError => (RETRY, LOGIN_REFUSED),
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::ConfigError
            | DbError::AlreadyExists { .. } => (REJECT, INVALID),
            _ => (RETRY, OTHER),
        },
        _ => (RETRY, OTHER),
    }
}

fn of_preparation(error: &PrepareError) -> (i32, i32) {
    match error {
        PrepareError::ConnectionPoolError(pool) => (RETRY, reason_of_pool(pool)),
        PrepareError::AllAttemptsFailed { first_attempt } => of_attempt(first_attempt),
        _ => (RETRY, OTHER),
    }
}

fn of_execution(error: &ExecutionError) -> (i32, i32) {
    match error {
        ExecutionError::RequestTimeout(_) => (RETRY, CLIENT_TIMEOUT),
        // Retrying on the next node, the driver reports the last node's broken pool instead of a lost quorum.
        ExecutionError::EmptyPlan => (RETRY, NO_CONNECTION),
        ExecutionError::ConnectionPoolError(pool) => (RETRY, reason_of_pool(pool)),
        ExecutionError::BadQuery(BadQuery::PartitionKeyExtraction) => (RETRY, OTHER),
        ExecutionError::BadQuery(_) => (REJECT, INVALID),
        ExecutionError::PrepareError(error) => of_preparation(error),
        ExecutionError::LastAttemptError(error) => of_attempt(error),
        _ => (RETRY, OTHER),
    }
}

fn failure((status, reason): (i32, i32), error: &dyn std::error::Error) -> Failure {
    Failure { status, reason, message: error.to_string() }
}

async fn connect(settings: &Settings) -> Result<Ready, NewSessionError> {
    let mut policy = DefaultPolicy::builder().token_aware(true);
    if !settings.datacenter.is_empty() {
        policy = policy.prefer_datacenter(settings.datacenter.clone());
    }
    let profile = ExecutionProfile::builder()
        .consistency(settings.consistency)
        .load_balancing_policy(policy.build())
        .build();
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.hosts)
        .connection_timeout(settings.connect)
        .hostname_resolution_timeout(Some(settings.connect))
        // A paused node keeps its TCP connections; only these notice it.
        .keepalive_interval(settings.keepalive)
        .keepalive_timeout(settings.keepalive)
        .tcp_nodelay(true)
        .fetch_full_schema_metadata(false)
        .default_execution_profile_handle(profile.into_handle());
    if let Some((user, password)) = &settings.login {
        builder = builder.user(user, password);
    }
    if let Some(tls) = &settings.tls {
        builder = builder.tls_context(Some(tls.clone()));
    }
    let session = builder.build().await?;
    Ok(Ready { session, prepared: Mutex::default() })
}

#[derive(Default)]
struct Seen {
    connected: bool,
    lost: Option<Instant>,
}

impl Seen {
    /// Takes what is seen now. Returns whether that is a loss.
    fn look(&mut self, connected: bool, others_have_it: bool) -> bool {
        let lost = self.connected && !connected;
        self.connected = connected;
        if !lost {
            return false;
        }
        let before = self.lost.replace(Instant::now());
        !others_have_it || before.map_or(true, |before| before.elapsed() >= FLAPPING)
    }
}

async fn count_losses(shared: Arc<Shared>, ready: Arc<Ready>) {
    let mut seen = HashMap::<_, Seen>::new();
    while !shared.closing.load(Acquire) {
        let state = ready.session.get_cluster_state();
        let nodes = state.get_nodes_info();
        let others_have_it =
            shared.settings.consistency != Consistency::LocalOne && nodes.len() >= ENOUGH_NODES;
        for node in nodes {
            if seen.entry(node.host_id).or_default().look(node.is_connected(), others_have_it) {
                shared.losses.fetch_add(1, AcqRel);
            }
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

async fn keep_connecting(shared: Arc<Shared>) {
    let mut wait = Duration::from_millis(100);
    while !shared.closing.load(Acquire) {
        match connect(&shared.settings).await {
            Ok(ready) => {
                let ready = Arc::new(ready);
                shared.connection.send_replace(Connection::Ready(ready.clone()));
                return count_losses(shared, ready).await;
            }
            Err(error) => {
                shared.connection.send_replace(Connection::Failed(of_new_session(&error)));
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(Duration::from_secs(2));
    }
}

async fn connected(shared: &Shared, timeout: Duration) -> Result<Arc<Ready>, Failure> {
    let mut connection = shared.connection.subscribe();
    let state =
        tokio::time::timeout(timeout, connection.wait_for(|state| !matches!(state, Connection::Pending)))
            .await;
    match state {
        Ok(Ok(state)) => match &*state {
            Connection::Ready(ready) => Ok(ready.clone()),
            Connection::Failed(failure) => Err(failure.clone()),
            Connection::Pending => unreachable!("waited for another state"),
        },
        _ => Err(Failure {
            status: RETRY,
            reason: NO_CONNECTION,
            message: format!("no connection within {} ms", timeout.as_millis()),
        }),
    }
}

impl Ready {
    async fn prepared(&self, text: &str) -> Result<PreparedStatement, Failure> {
        if let Some(statement) = lock(&self.prepared).get(text) {
            return Ok(statement.clone());
        }
        let mut statement =
            self.session.prepare(text).await.map_err(|error| failure(of_preparation(&error), &error))?;
        statement.set_is_idempotent(true); // lets the driver go to the next node after a broken connection
        lock(&self.prepared).insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn run(&self, request: Request) -> Outcome {
        let (result, next_page) = if request.prepare {
            let mut statement = self.prepared(&request.statement).await?;
            statement.set_request_timeout(Some(request.timeout));
            statement.set_page_size(request.page_size);
            self.session.execute_single_page(&statement, &request.values, request.page).await
        } else {
            let mut statement = Statement::new(request.statement);
            statement.set_is_idempotent(true);
            statement.set_request_timeout(Some(request.timeout));
            statement.set_page_size(request.page_size);
            self.session.query_single_page(statement, &request.values, request.page).await
        }
        .map_err(|error| failure(of_execution(&error), &error))?;

        let mut answer = Answer::default();
        if let PagingStateResponse::HasMorePages { state } = next_page {
            answer.next_page = state.as_bytes_slice().map(|bytes| bytes.to_vec()).unwrap_or_default();
        }
        if !result.is_rows() {
            return Ok(answer);
        }
        let unreadable = |error: &dyn std::error::Error| failure((RETRY, OTHER), error);
        let result = result.into_rows_result().map_err(|error| unreadable(&error))?;
        answer.column_count = result.column_specs().len() as u32;
        for row in result.rows::<ColumnIterator>().map_err(|error| unreadable(&error))? {
            for column in row.map_err(|error| unreadable(&error))? {
                match column.map_err(|error| unreadable(&error))?.slice {
                    None => answer.rows.extend_from_slice(&(-1i32).to_be_bytes()),
                    Some(value) => {
                        answer.rows.extend_from_slice(&(value.as_slice().len() as i32).to_be_bytes());
                        answer.rows.extend_from_slice(value.as_slice());
                    }
                }
            }
            answer.row_count += 1;
        }
        Ok(answer)
    }
}

async fn serve(request: Request, mut promise: Promise) {
    let shared = promise.shared.clone();
    promise.outcome = Some(match connected(&shared, request.timeout).await {
        Ok(ready) => ready.run(request).await,
        Err(failure) => Err(failure),
    });
}

unsafe fn bytes_of(bytes: Bytes) -> Vec<u8> {
    if bytes.size == 0 {
        Vec::new()
    } else {
        unsafe { std::slice::from_raw_parts(bytes.bytes, bytes.size) }.to_vec()
    }
}

unsafe fn text_of(bytes: Bytes) -> Result<String, String> {
    String::from_utf8(unsafe { bytes_of(bytes) }).map_err(|error| error.to_string())
}

unsafe fn settings_of(options: &COptions) -> Result<Settings, String> {
    if options.abi != ABI {
        return Err(format!("the driver's ABI is {ABI}, the caller's {}", options.abi));
    }
    let (user, password) = unsafe { (text_of(options.user)?, text_of(options.password)?) };
    let ca_file = unsafe { text_of(options.ca_file)? };
    let tls = if options.tls == 0 {
        None
    } else {
        let mut builder = SslConnector::builder(SslMethod::tls()).map_err(|error| error.to_string())?;
        if !ca_file.is_empty() {
            builder
                .set_ca_file(&ca_file)
                .map_err(|error| format!("cannot read certificates from {ca_file}: {error}"))?;
        }
        Some(OpenSsl010Config::new(builder))
    };
    Ok(Settings {
        hosts: unsafe { text_of(options.hosts)? }.split(',').map(str::to_owned).collect(),
        datacenter: unsafe { text_of(options.datacenter)? },
        login: (!user.is_empty()).then_some((user, password)),
        connect: Duration::from_millis(options.connect_ms.into()),
        keepalive: Duration::from_millis(options.keepalive_ms.into()),
        consistency: if options.consistency == 1 { Consistency::LocalOne } else { Consistency::LocalQuorum },
        tls,
    })
}

fn open(settings: Settings, io_threads: usize, max_outstanding: usize) -> Result<Driver, String> {
    let shared = Arc::new(Shared {
        settings,
        connection: watch::Sender::new(Connection::Pending),
        finished: Mutex::default(),
        arrived: Condvar::new(),
        in_flight: AtomicUsize::new(0),
        outstanding: AtomicUsize::new(0),
        losses: AtomicU64::new(0),
        closing: AtomicBool::new(false),
        closed: AtomicBool::new(false),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(io_threads)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("cassandra")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the driver's threads: {error}"))?;
    runtime.spawn(keep_connecting(shared.clone()));
    Ok(Driver { shared, runtime: Mutex::new(Some(runtime)), max_outstanding })
}

impl Driver {
    /// Takes the future that answers `tag`.
    fn submit<F, S>(&self, tag: u64, serve: S) -> i32
    where
        F: Future<Output = ()> + Send + 'static,
        S: FnOnce(Promise) -> F,
    {
        let runtime = lock(&self.runtime); // while it is held close() cannot pass
        let Some(runtime) = runtime.as_ref().filter(|_| !self.shared.closing.load(Acquire)) else {
            return CLOSED;
        };
        if self.shared.outstanding.fetch_add(1, AcqRel) >= self.max_outstanding {
            self.shared.outstanding.fetch_sub(1, AcqRel);
            return FULL;
        }
        self.shared.in_flight.fetch_add(1, AcqRel);
        runtime.spawn(serve(Promise { shared: self.shared.clone(), tag, outcome: None }));
        DONE
    }

    /// Nothing when closed and drained.
    fn wait(&self, max: usize, timeout: Duration) -> Option<Vec<Finished>> {
        let nothing = |queue: &mut VecDeque<Finished>| queue.is_empty() && !self.shared.closed.load(Acquire);
        let (mut queue, _) = self
            .shared
            .arrived
            .wait_timeout_while(lock(&self.shared.finished), timeout, nothing)
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if queue.is_empty() && self.shared.closed.load(Acquire) {
            return None;
        }
        let count = queue.len().min(max);
        self.shared.outstanding.fetch_sub(count, AcqRel);
        Some(queue.drain(..count).collect())
    }

    fn close(&self, drain: Duration) {
        self.shared.closing.store(true, Release);
        let Some(runtime) = lock(&self.runtime).take() else { return };
        let end = Instant::now() + drain;
        while self.shared.in_flight.load(Acquire) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        runtime.shutdown_timeout(END_OF_THREADS); // drops the tasks, and with them their promises
        let _queue = lock(&self.shared.finished);
        self.shared.closed.store(true, Release);
        self.shared.arrived.notify_all();
    }
}

fn guard<T>(on_panic: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(on_panic)
}

unsafe fn say(text: &str, message: *mut c_char, capacity: usize) {
    if !message.is_null() && capacity > 0 {
        let size = text.len().min(capacity - 1);
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr().cast(), message, size);
            *message.add(size) = 0;
        }
    }
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_open(
    options: *const COptions,
    out: *mut *mut Driver,
    message: *mut c_char,
    capacity: usize,
) -> i32 {
    guard(PANICKED, || {
        let options = unsafe { &*options };
        let opened = unsafe { settings_of(options) }.and_then(|settings| {
            open(settings, options.io_threads as usize, options.max_outstanding as usize)
        });
        match opened {
            Ok(driver) => {
                unsafe { *out = Box::into_raw(Box::new(driver)) };
                DONE
            }
            Err(error) => {
                unsafe { say(&error, message, capacity) };
                BAD_OPTIONS
            }
        }
    })
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_submit(driver: *mut Driver, request: *const CRequest) -> i32 {
    guard(PANICKED, || {
        let (driver, request) = unsafe { (&*driver, &*request) };
        let page = unsafe { bytes_of(request.page) };
        let read = unsafe {
            Request {
                statement: String::from_utf8_lossy(&bytes_of(request.statement)).into_owned(),
                values: Cells { bytes: bytes_of(request.values), count: request.value_count },
                prepare: request.prepare != 0,
                timeout: Duration::from_millis(request.timeout_ms.into()),
                page_size: i32::try_from(request.page_size).unwrap_or(i32::MAX).max(1),
                page: if page.is_empty() {
                    PagingState::start()
                } else {
                    PagingState::new_from_raw_bytes(page)
                },
            }
        };
        driver.submit(request.tag, |promise| serve(read, promise))
    })
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_wait(
    driver: *mut Driver,
    out: *mut CCompletion,
    max: usize,
    timeout_ms: u32,
) -> i64 {
    guard(PANICKED.into(), || {
        let Some(finished) = unsafe { &*driver }.wait(max, Duration::from_millis(timeout_ms.into())) else {
            return CLOSED.into();
        };
        let count = finished.len();
        for (index, one) in finished.into_iter().enumerate() {
            unsafe { out.add(index).write(completion_of(one)) };
        }
        count as i64
    })
}

fn completion_of(finished: Finished) -> CCompletion {
    let view = |bytes: &[u8]| Bytes { bytes: bytes.as_ptr(), size: bytes.len() };
    // Boxed first: the views point into what stays where it is.
    let owner = Box::new(finished);
    let (status, reason, message) = match &owner.outcome {
        Ok(_) => (OK, NONE, view(&[])),
        Err(failure) => (failure.status, failure.reason, view(failure.message.as_bytes())),
    };
    let (row_count, column_count, rows, next_page) = match &owner.outcome {
        Ok(answer) => (answer.row_count, answer.column_count, view(&answer.rows), view(&answer.next_page)),
        Err(_) => (0, 0, view(&[]), view(&[])),
    };
    let tag = owner.tag;
    let owner = Box::into_raw(owner).cast();
    CCompletion { tag, status, reason, row_count, column_count, rows, next_page, message, owner }
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_release(completion: *mut CCompletion) {
    guard((), || unsafe {
        drop(Box::from_raw((*completion).owner.cast::<Finished>()));
        (*completion).owner = std::ptr::null_mut();
    })
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_losses(driver: *const Driver) -> u64 {
    guard(0, || unsafe { &*driver }.shared.losses.load(Acquire))
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_close(driver: *mut Driver, drain_ms: u32) {
    guard((), || unsafe { &*driver }.close(Duration::from_millis(drain_ms.into())))
}

#[no_mangle]
pub unsafe extern "C" fn espy_cql_free(driver: *mut Driver) {
    guard((), || {
        let driver = unsafe { Box::from_raw(driver) };
        driver.close(Duration::ZERO);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    // Nobody listens on port 1.
    fn settings() -> Settings {
        Settings {
            hosts: vec!["127.0.0.1:1".to_owned()],
            datacenter: String::new(),
            login: None,
            connect: Duration::from_secs(1),
            keepalive: Duration::from_secs(1),
            consistency: Consistency::LocalQuorum,
            tls: None,
        }
    }

    fn fetch(driver: &Driver, count: usize) -> Vec<Finished> {
        let mut all = Vec::new();
        while all.len() < count {
            let some = driver.wait(count, Duration::from_secs(10)).expect("not closed");
            assert!(!some.is_empty(), "{} of {count} completions", all.len());
            all.extend(some);
        }
        all
    }

    #[test]
    fn a_panic_becomes_the_completion_of_its_request_and_the_next_request_is_served() {
        let driver = open(settings(), 1, 8).unwrap();
        let panics = |promise: Promise| async move {
            let _promise = promise;
            panic!("on purpose");
        };
        assert_eq!(driver.submit(1, panics), DONE);
        let finished = fetch(&driver, 1);
        assert_eq!((finished[0].tag, finished[0].outcome.as_ref().err().unwrap().status), (1, PANIC));
        let answers = |mut promise: Promise| async move { promise.outcome = Some(Ok(Answer::default())) };
        assert_eq!(driver.submit(2, answers), DONE);
        assert!(fetch(&driver, 1)[0].outcome.is_ok());
        driver.close(Duration::ZERO);
    }

    #[test]
    fn a_node_that_flaps_is_counted_once_only_where_others_have_what_it_confirmed() {
        let losses = |others_have_it| {
            let mut seen = Seen::default();
            let looks = [false, true, false, false, true, false];
            looks.into_iter().filter(|connected| seen.look(*connected, others_have_it)).count()
        };
        assert_eq!(losses(true), 1);
        assert_eq!(losses(false), 2);
    }

    #[test]
    fn a_shutdown_completes_what_was_in_flight() {
        let driver = open(settings(), 1, 8).unwrap();
        for tag in 0..8 {
            let hangs = |promise: Promise| async move {
                let _promise = promise;
                std::future::pending::<()>().await;
            };
            assert_eq!(driver.submit(tag, hangs), DONE);
        }
        let hangs = |promise: Promise| async move { drop(promise) };
        assert_eq!(driver.submit(8, hangs), FULL);
        driver.close(Duration::from_millis(10));
        let finished = driver.wait(100, Duration::ZERO).unwrap();
        assert_eq!(finished.len(), 8);
        assert!(finished.iter().all(|one| one.outcome.as_ref().err().unwrap().reason == SHUTDOWN));
        assert!(driver.wait(100, Duration::ZERO).is_none());
    }

    #[test]
    fn a_panic_in_a_call_stays_inside() {
        assert_eq!(guard(PANICKED, || panic!("on purpose")), PANICKED);
    }

    #[test]
    fn values_that_are_cut_off_are_refused() {
        for bytes in
            [&[0, 0, 0][..], &[0, 0, 0, 4, 1, 2][..], &[0, 0, 0, 0, 9][..], &[255, 255, 255, 253][..]]
        {
            let cells = Cells { bytes: bytes.to_vec(), count: 1 };
            let mut out = Vec::new();
            assert!(cells
                .serialize(&RowSerializationContext::empty(), &mut RowWriter::new(&mut out))
                .is_err());
        }
    }
}
