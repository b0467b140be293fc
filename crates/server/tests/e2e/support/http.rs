//! The HTTP side port: one GET, and the figures of `/metrics`.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::in_time;

/// The status code and the body of `GET path`.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = in_time(path, exchange).await.unwrap_or_else(|error| panic!("GET http://{address}{path}: {error}"));
    let answer = String::from_utf8(answer).expect("the answer is UTF-8");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").expect("the answer has a head");
    (code.expect("the answer has a status code"), body.to_owned())
}

/// The value of a series, such as `grpc_server_started_total{grpc_method="Verify"}`: of the first line of that name that
/// has all the labels.
pub(crate) fn series(metrics: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    metrics.lines().find_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (line_name, line_labels) = series.split_once('{').unwrap_or((series, ""));
        let has = |(label, value): &(&str, &str)| line_labels.contains(&format!("{label}=\"{value}\""));
        (line_name == name && labels.iter().all(has)).then(|| value.parse().ok())?
    })
}
