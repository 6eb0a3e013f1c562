//! Extensions and the resources of their kinds.

use skep_proto::{
    prost_types::Any,
    swarmkit::{
        CreateExtensionRequest, CreateResourceRequest, Extension, GetExtensionRequest,
        GetResourceRequest, ListResourcesRequest, RemoveExtensionRequest, RemoveResourceRequest,
        Resource, UpdateResourceRequest, list_resources_request::Filters,
    },
};

use super::*;

async fn extension(h: &Harness, name: &str) -> String {
    let request = CreateExtensionRequest { annotations: named(name), ..Default::default() };
    done!(h, create_extension, request).extension.unwrap().id
}

fn resource(name: &str, kind: &str) -> CreateResourceRequest {
    CreateResourceRequest { annotations: named(name), kind: kind.into(), ..Default::default() }
}

fn payload(text: &str) -> Option<Any> {
    Some(Any { type_url: "t".into(), value: text.into() })
}

#[tokio::test]
async fn an_extension_goes_when_its_resources_are_gone() {
    let h = Harness::new();
    let id = extension(&h, "cert").await;
    let get = || GetExtensionRequest { extension_id: id.clone() };
    assert_eq!(done!(h, get_extension, get()).extension.unwrap().annotations, named("cert"));
    let again = CreateExtensionRequest { annotations: named("cert"), ..Default::default() };
    assert_eq!(
        refused!(h, create_extension, again),
        says(Code::AlreadyExists, "extension cert already exists")
    );
    assert_eq!(
        refused!(h, create_extension, CreateExtensionRequest::default()),
        says(Code::InvalidArgument, "extension: the name is missing")
    );
    let held = done!(h, create_resource, resource("r", "cert")).resource.unwrap().id;
    let remove = || RemoveExtensionRequest { extension_id: id.clone() };
    assert_eq!(
        refused!(h, remove_extension, remove()),
        says(
            Code::InvalidArgument,
            "extension 'cert' is in use by the resources: r; remove these first"
        )
    );
    done!(h, remove_resource, RemoveResourceRequest { resource_id: held });
    done!(h, remove_extension, remove());
    assert_eq!(h.store.view().count::<Extension>(), 0);
    assert_eq!(refused!(h, remove_extension, remove()).0, Code::NotFound);
}

#[tokio::test]
async fn a_resource_is_of_a_kind_that_there_is() {
    let h = Harness::new();
    extension(&h, "cert").await;
    for (request, expected) in [
        (
            resource("r", "other"),
            says(
                Code::InvalidArgument,
                "resource: kind \"other\" is not registered; create an extension of that name first",
            ),
        ),
        (
            resource("r", ""),
            says(
                Code::InvalidArgument,
                "resource: the kind must be provided; it is the name of an extension",
            ),
        ),
        (resource("", "cert"), says(Code::InvalidArgument, "resource: the name must be provided")),
    ] {
        assert_eq!(refused!(h, create_resource, request), expected);
    }
    done!(h, create_resource, resource("r", "cert"));
    assert_eq!(
        refused!(h, create_resource, resource("r", "cert")),
        says(Code::AlreadyExists, "resource r already exists")
    );
}

#[tokio::test]
async fn a_resource_is_updated_in_parts_and_listed_by_kind() {
    let h = Harness::new();
    extension(&h, "cert").await;
    extension(&h, "other").await;
    done!(h, create_resource, resource("o", "other"));
    let created = done!(
        h,
        create_resource,
        CreateResourceRequest { payload: payload("one"), ..resource("r", "cert") }
    );
    let created = created.resource.unwrap();
    let request = |annotations, payload| UpdateResourceRequest {
        resource_id: created.id.clone(),
        resource_version: version_of(&*h.get::<Resource>(&created.id).unwrap()),
        annotations,
        payload,
    };
    let updated = done!(h, update_resource, request(None, payload("two"))).resource.unwrap();
    assert_eq!((updated.annotations, updated.payload), (named("r"), payload("two")));
    let labels = [("k".to_owned(), "v".to_owned())].into();
    let labelled = Some(Annotations { name: "r".into(), labels, ..Default::default() });
    let updated = done!(h, update_resource, request(labelled.clone(), None)).resource.unwrap();
    assert_eq!((updated.annotations, updated.payload), (labelled, payload("two")));
    assert_eq!(
        refused!(h, update_resource, request(named("s"), None)),
        says(
            Code::InvalidArgument,
            "resource: the name cannot be changed; create a resource with the new name instead"
        )
    );
    let old =
        UpdateResourceRequest { resource_version: version_of(&created), ..request(None, None) };
    assert_eq!(refused!(h, update_resource, old), stale());
    let filters = Some(Filters { kind: "cert".into(), ..Default::default() });
    let listed = done!(h, list_resources, ListResourcesRequest { filters }).resources;
    assert_eq!(listed.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), [created.id.as_str()]);
    let got = done!(h, get_resource, GetResourceRequest { resource_id: created.id.clone() });
    assert_eq!(got.resource.as_ref(), listed.first());
}
