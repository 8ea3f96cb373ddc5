//! Accounts and their keys.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;

use super::Admin;
use super::extract::Named;
use super::problem::Problem;
use super::view::{AccountView, KeyView, NewKeyView};

pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<AccountView>>, Problem> {
    let accounts = admin.state.namespace.accounts().await?;
    Ok(Json(accounts.into_iter().map(AccountView::from).collect()))
}

pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<(StatusCode, Json<NewKeyView>), Problem> {
    let (account, key) = admin.state.namespace.create_account(&name).await?;
    Ok((StatusCode::CREATED, Json(NewKeyView::new(&account, &key))))
}

pub(super) async fn delete(State(admin): State<Arc<Admin>>, Named(name): Named<String>) -> Result<StatusCode, Problem> {
    admin.state.namespace.delete_account(&name).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn disable(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<AccountView>, Problem> {
    Ok(Json(admin.state.namespace.set_account_disabled(&name, true).await?.into()))
}

pub(super) async fn enable(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<AccountView>, Problem> {
    Ok(Json(admin.state.namespace.set_account_disabled(&name, false).await?.into()))
}

pub(super) async fn list_keys(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<Json<Vec<KeyView>>, Problem> {
    let keys = admin.state.namespace.keys(&name).await?;
    Ok(Json(keys.into_iter().map(KeyView::from).collect()))
}

pub(super) async fn create_key(
    State(admin): State<Arc<Admin>>,
    Named(name): Named<String>,
) -> Result<(StatusCode, Json<NewKeyView>), Problem> {
    let namespace = &admin.state.namespace;
    let key = namespace.create_key(&name).await?;
    let gone = || Problem::new(StatusCode::NOT_FOUND, "no_such_account", format!("no account `{name}`"));
    let account = namespace.account(key.key.account).await?.ok_or_else(gone)?;
    Ok((StatusCode::CREATED, Json(NewKeyView::new(&account, &key))))
}

pub(super) async fn delete_key(
    State(admin): State<Arc<Admin>>,
    Named((name, id)): Named<(String, String)>,
) -> Result<StatusCode, Problem> {
    admin.state.namespace.delete_key(&name, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
