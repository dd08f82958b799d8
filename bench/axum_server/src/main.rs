//! axum and ONNX Runtime: POST /predict takes a grey PNG of 28x28 pixels, light on black, and answers its class and
//! probability as JSON. It keeps no record of anything.
//!
//!     ORT_DYLIB_PATH=libonnxruntime.so.1 axum_server MODEL.onnx PORT THREADS
use axum::{body::Bytes, http::header::CONTENT_TYPE, http::StatusCode, response::IntoResponse, routing::post, Router};
use ort::session::{builder::GraphOptimizationLevel, Session};
use ort::value::Tensor;
use std::{cell::RefCell, error::Error, io::Cursor};

const SIDE: usize = 28;

thread_local! {
    static SESSION: RefCell<Option<Session>> = const { RefCell::new(None) };
}

fn load(model: &str) -> ort::Result<Session> {
    Session::builder()?
        .with_intra_threads(1)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .commit_from_file(model)
}

fn decode(body: &[u8]) -> Result<Vec<f32>, Box<dyn Error>> {
    let mut reader = png::Decoder::new(Cursor::new(body)).read_info()?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("the picture is too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    if (frame.width, frame.height, frame.line_size) != (SIDE as u32, SIDE as u32, SIDE) {
        return Err("the picture is not a grey one of 28x28 pixels".into());
    }
    Ok(pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect())
}

fn predict(model: &str, body: &[u8]) -> Result<String, Box<dyn Error>> {
    let input = Tensor::from_array(([1usize, 1, SIDE, SIDE], decode(body)?))?;
    SESSION.with_borrow_mut(|slot| {
        let session = match slot {
            Some(session) => session,
            None => slot.insert(load(model)?),
        };
        let outputs = session.run(ort::inputs![input])?;
        let (_, logits) = outputs[0].try_extract_tensor::<f32>()?;
        let label = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).ok_or("no logits")?;
        let sum: f32 = logits.iter().map(|logit| (logit - logits[label]).exp()).sum();
        Ok(format!("{{\"label\":{label},\"probability\":{}}}", 1.0 / sum))
    })
}

fn main() -> Result<(), Box<dyn Error>> {
    let [model, port, threads] = <[String; 3]>::try_from(std::env::args().skip(1).collect::<Vec<_>>())
        .map_err(|_| "usage: axum_server MODEL.onnx PORT THREADS")?;
    let answer = move |body: Bytes| async move {
        match predict(&model, &body) {
            Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
            Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.parse()?)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
        axum::serve(listener, Router::new().route("/predict", post(answer))).await?;
        Ok(())
    })
}
