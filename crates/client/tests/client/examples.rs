//! The examples, as separate processes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use key_authority_proto::v1;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::authority::{Authority, key};
use crate::built;
use crate::http::Http;

/// A running example. Drop kills it.
struct Example {
    child: Child,
    address: String,
}

impl Example {
    fn start(name: &str, authority: &Authority) -> Self {
        let token_file = authority.folder().join("service.token");
        std::fs::write(&token_file, &authority.service_token).unwrap();
        let mut child = Command::new(built("examples").join(name))
            .args([&format!("http://{}", authority.grpc), token_file.to_str().unwrap(), "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").expect("the example prints its address").to_owned();
        Self { child, address }
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

mod sqlite {
    use super::*;

    #[tokio::test]
    async fn the_axum_service_accepts_only_keys_with_its_scope_and_project() {
        let authority = Authority::start().await;
        let operator = authority.operator();
        let projects = v1::ProjectAccess { only: vec!["web".into()], ..v1::ProjectAccess::default() };
        let request = v1::CreateKeyRequest { projects: Some(projects), ..key("ci", &["deploy"]) };
        let token = operator.create(request).await.token;
        let reader = operator.create_key("reader", &["read"]).await;

        let example = Example::start("axum", &authority);
        let mut http = Http::connect(&example.address).await;
        let deployed = http.send_with_token("POST", "/projects/web/deploy", &token).await;
        assert_eq!((deployed.code, deployed.body.as_str()), (200, "ci of acme deploys web\n"));
        assert_eq!(http.send_with_token("POST", "/projects/app/deploy", &token).await.code, 403);
        assert_eq!(
            http.send_with_token("POST", "/projects//deploy", &token).await.code,
            400,
            "an empty project is no wildcard"
        );
        let lacks = http.send_with_token("POST", "/projects/web/deploy", &reader).await;
        assert_eq!(lacks.code, 403);
        assert!(lacks.challenge.unwrap().ends_with(r#", scope="deploy""#));
        assert_eq!(http.send("POST", "/projects/web/deploy", &[]).await.code, 401);
        assert_eq!(http.send("GET", "/health", &[]).await.body, "ok");
        operator.revoke("ci").await;
        assert_eq!(http.send_with_token("POST", "/projects/web/deploy", &token).await.code, 401);
    }

    #[tokio::test]
    async fn the_tonic_service_accepts_only_keys_with_its_scope() {
        let authority = Authority::start().await;
        let operator = authority.operator();
        let token = operator.create_key("monitor", &["health.read"]).await;
        let other = operator.create_key("other", &[]).await;
        let example = Example::start("tonic", &authority);
        let channel = Endpoint::try_from(format!("http://{}", example.address)).unwrap().connect_lazy();

        assert_eq!(check(&channel, "acme", Some(&token)).await.unwrap(), ServingStatus::Serving);
        assert_eq!(check(&channel, "other", Some(&token)).await.unwrap_err().code(), Code::NotFound);
        assert_eq!(check(&channel, "acme", None).await.unwrap_err().code(), Code::Unauthenticated);
        let lacks = check(&channel, "acme", Some(&other)).await.unwrap_err();
        assert_eq!((lacks.code(), lacks.message()), (Code::PermissionDenied, "the key lacks the scope health.read"));
        operator.revoke("monitor").await;
        let revoked = check(&channel, "acme", Some(&token)).await.unwrap_err();
        assert_eq!((revoked.code(), revoked.message()), (Code::Unauthenticated, "the key is revoked"));
    }

    async fn check(channel: &Channel, service: &str, token: Option<&str>) -> Result<ServingStatus, Status> {
        let mut request = Request::new(HealthCheckRequest { service: service.into() });
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        Ok(HealthClient::new(channel.clone()).check(request).await?.into_inner().status())
    }
}
