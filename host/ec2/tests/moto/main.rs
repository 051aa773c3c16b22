//! Servers on something that speaks the protocol of EC2: what is sent is understood, and what comes back too.

mod errors;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use jecloud_cloud::{Details, Machine, MachineError, SystemWorld};
use jecloud_ec2::{Access, AwsApi, Connect, Credentials, DEBIAN, Ec2Machines, Ec2Settings, Running};
use jecloud_model::cloud::Place;
use jecloud_testkit::Moto;

const REGION: &str = "eu-west-1";

/// A real key, of which nobody has the other half.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJmSW7tpiEkFhPAjmjAzWi4kXYSIRbRT5JnkkJzgZ9sE ada@laptop";

fn place(server: &str) -> Place {
    Place { environment: "production".parse().unwrap(), server: server.parse().unwrap() }
}

fn image(id: &str, name: &str, owner: &str, architecture: &str, created: &str) -> serde_json::Value {
    serde_json::json!({
        "ami_id": id, "name": name, "owner_id": owner, "architecture": architecture, "creation_date": created,
        "state": "available", "public": true, "image_location": "x", "sriov": "simple", "root_device_type": "ebs",
        "root_device_name": "/dev/xvda", "description": name, "image_type": "machine", "platform": "",
        "virtualization_type": "hvm", "hypervisor": "xen",
    })
}

fn start() -> Moto {
    let (x86, arm) = ("x86_64", "arm64");
    Moto::start(&serde_json::json!([
        image("ami-0aa1", "debian-12-amd64-20250101-1", DEBIAN, x86, "2025-01-01T00:00:00.000Z"),
        image("ami-0aa2", "debian-12-amd64-20260101-1", DEBIAN, x86, "2026-01-01T00:00:00.000Z"),
        image("ami-0aa3", "debian-12-arm64-20260201-1", DEBIAN, arm, "2026-02-01T00:00:00.000Z"),
        image("ami-0aa4", "debian-11-amd64-20260301-1", DEBIAN, x86, "2026-03-01T00:00:00.000Z"),
        image("ami-0aa5", "debian-12-amd64-20260401-1", "999900001111", x86, "2026-04-01T00:00:00.000Z"),
    ]))
}

fn access(moto: &Moto) -> Access {
    Access {
        region: Some(REGION.to_owned()),
        endpoint: Some(moto.endpoint()),
        credentials: Credentials::Fixed {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        },
        patience: Duration::from_secs(60),
    }
}

fn api(moto: &Moto) -> Arc<AwsApi> {
    Arc::new(AwsApi::new(&access(moto)).expect("an API"))
}

fn settings() -> Ec2Settings {
    Ec2Settings::new(&"guestbook".parse().unwrap(), KEY)
}

fn machines(settings: Ec2Settings, api: &Arc<AwsApi>) -> Ec2Machines {
    Ec2Machines::new(settings, api.clone(), Box::new(Nobody), Arc::new(SystemWorld))
}

/// There is no machine behind these instances: whoever is asked is content with the address.
struct Nobody;

impl Connect for Nobody {
    fn fits(&self, _architecture: &str) -> Result<(), MachineError> {
        Ok(())
    }

    fn set_up(&self, instance: &Running<'_>) -> Result<Option<Details>, MachineError> {
        let address: std::net::IpAddr = instance.address.parse().expect("an address");
        let console = (instance.console)()?.unwrap_or_default();
        let said = format!("{address} {}", console.len());
        Ok(Some(Details::from_iter([("met".to_owned(), said.into())])))
    }

    fn machine(&self, instance: &Running<'_>) -> Result<Option<Arc<dyn Machine>>, MachineError> {
        // As after a disk that was wiped.
        let met = instance.connection.get("met").and_then(|met| met.as_str());
        assert!(met.is_some_and(|met| met.starts_with(instance.address)), "{met:?}");
        Ok(None)
    }
}
