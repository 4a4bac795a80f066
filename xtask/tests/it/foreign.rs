//! A tree that has never heard of this program: no settings, 25 images under `src/`, everything that the old scripts knew.

use std::fmt::Write as _;

use crate::repo::TestRepo;

fn tree() -> TestRepo {
    let mut text = String::new();
    let mut file = |path: &str, content: &str| {
        let _ = write!(text, "//- {path}\n{content}");
    };
    file(
        ".env.example",
        "# Images\nGOLANG_VERSION=1.23-alpine\nNODE_VERSION=20-alpine\nPYTHON_VERSION=3.11-slim\nALPINE_VERSION=3.20\n\
         NGINX_TAG=stable\nREDIS_VERSION=7-alpine\n# Ports\nBACKEND_PORT=8080\nDB_PASSWORD=\"change me\"\n",
    );
    file(".env", "GOLANG_VERSION=1.24-alpine\nDB_PASSWORD=s3cr3t-of-ours\n");
    for number in 1..=10 {
        let name = format!("worker{number:02}");
        file(
            &format!("src/{name}/Dockerfile.tpl"),
            &format!(
                "FROM golang:{{{{GOLANG_VERSION}}}} AS builder\nWORKDIR /src\nCOPY src/{name}/app ./app\nCOPY src/shared ./shared\n\
                 RUN go build -o /out ./app\nFROM alpine:{{{{ALPINE_VERSION}}}}\nCOPY --from=builder /out /out\n"
            ),
        );
        file(&format!("src/{name}/app/main.go"), "package main\n");
        file(&format!("src/{name}/Dockerfile.backup"), "FROM left:over\n");
        file(&format!("src/{name}/Dockerfile.orig"), "FROM left:over\n");
    }
    file("src/shared/lib.go", "package shared\n");
    for number in 1..=5 {
        let dir = format!("src/front{number}");
        file(
            &format!("{dir}/Dockerfile"),
            "ARG NODE_VERSION=18-alpine\nFROM node:${NODE_VERSION} AS builder\nCOPY package.json .\nRUN npm ci\nCOPY . .\n\
             FROM nginx:stable\nCOPY --from=builder /dist /usr/share/nginx/html\nCOPY nginx.conf /etc/nginx/nginx.conf\n",
        );
        file(&format!("{dir}/package.json"), "{}\n");
        file(&format!("{dir}/nginx.conf"), "location / { try_files $uri $uri/ /index.html; }\n");
    }
    file("src/nginx/Dockerfile.tpl", "FROM nginx:{{ NGINX_TAG }}\nCOPY src/nginx/conf.d /etc/nginx/conf.d\n");
    file(
        "src/nginx/templates/conf.d/server.conf.tpl",
        "proxy_pass http://backend:{{BACKEND_PORT}}; try_files $uri =404; # ${uri} {{ .State }} ${{ x }}\n",
    );
    file("src/redis/dependency.conf.tpl", "# cache\n\nredis:{{REDIS_VERSION}}\n");
    file("src/openldap/dependency.conf", "osixia/openldap:stable\n");
    file("src/keycloak/dependency.conf", "# sign-on\nquay.io/keycloak/keycloak:26.0\n");
    file("src/gitea/dependency.conf", "gitea/gitea:1.22\n");
    file("src/gitea/Dockerfile", "FROM gitea/gitea:1.22\nRUN true\n");
    file("src/backend/build-targets.conf", "# stage image\nbackend backend\nbackend-init backend-init\n");
    file(
        "src/backend/Dockerfile.tpl",
        "FROM golang:{{GOLANG_VERSION}} AS builder\nCOPY cmd ./cmd\nFROM alpine:3.20 AS backend\nCOPY --from=builder /cmd /cmd\n\
         FROM backend AS backend-init\nRUN true\n",
    );
    file("src/backend/cmd/main.go", "package main\n");
    file("src/base-py/build.conf", "BUILD_PHASE=foundation\n");
    file("src/base-py/Dockerfile.tpl", "FROM python:{{PYTHON_VERSION}}\n");
    file("src/jupyter/build.conf", "BUILD_PHASE=\"dependent\"\n");
    file("src/jupyter/Dockerfile", "FROM base-py\nRUN true\n");
    file("src/docs/README.md", "No service.\n");
    file(
        "helm/app/templates/_helpers.tpl",
        "{{- define \"app.name\" -}}{{ .Chart.Name }}{{NOT_OURS}}{{- end -}}\n",
    );
    file(
        "docker-compose.yml.tpl",
        "image: redis:{{REDIS_VERSION}} # ${REDIS_VERSION}\npassword: {{DB_PASSWORD}}\n",
    );
    TestRepo::new(&text)
}

#[test]
fn its_plan() {
    let repo = tree();
    let began = std::time::Instant::now();
    let plan = repo.json("plan --network external --format json");
    assert!(began.elapsed().as_secs() < 5, "took {:?}", began.elapsed());
    let images = plan["images"].as_array().unwrap();
    assert_eq!(images.len(), 24);
    let lines: Vec<String> = images
        .iter()
        .map(|image| {
            let list = |name: &str| -> String {
                let texts = image[name].as_array().unwrap().iter().map(|value| value.as_str().unwrap());
                texts.collect::<Vec<_>>().join(" ")
            };
            format!(
                "{} in {} target {} needs [{}] on [{}] reads [{}]",
                image["reference"].as_str().unwrap(),
                image["context"].as_str().unwrap_or("-"),
                image["target"].as_str().unwrap_or("-"),
                list("needs"),
                list("base_images"),
                list("inputs"),
            )
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
    assert_eq!(plan["diagnostics"], serde_json::json!([]));
}

#[test]
fn what_render_would_write() {
    let repo = tree();
    insta::assert_snapshot!(repo.run("render --dry-run"));
    assert!(!repo.root().join("src/nginx/Dockerfile").exists(), "--dry-run writes nothing");
}

#[test]
fn its_status() {
    insta::assert_snapshot!(tree().run("status v0.3.8 --offline"));
}
