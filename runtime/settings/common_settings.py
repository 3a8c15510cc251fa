"""Settings that every command reads: folders, permits of inputs, logins of the database, secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from runtime.settings.setting_types import Buckets, PeppersByVersion, Roots, StoreUrl, Variables
from runtime.settings.values import OWN_PREFIX


class CommonSettings(BaseSettings):
    """Where things are, and what contracts may use."""

    model_config = SettingsConfigDict(env_prefix=OWN_PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment; the sources that nothing configures go over each field, too."""
        return init_settings, env_settings

    env: Annotated[
        Literal["development", "production"],
        Field(description="Production rejects unsafe defaults."),
    ] = "development"
    home: Annotated[
        Path, Field(description="Folder of Decant's own files: landing zone, secret, embedded Postgres.")
    ] = Path(".decant")
    store_url: Annotated[
        StoreUrl | None,
        Field(
            description="Bucket for what hosts share, such as s3://bucket/decant or https://minio.example/bucket: raw"
            " batches, finished exports; default: HOME."
        ),
    ] = None
    contracts: Annotated[Path, Field(description="Folder of contracts, or one contract file.")] = Path("contracts")
    data: Annotated[
        Path | None, Field(description="Data folder: the value of ${DECANT_DATA} in contracts; default: HOME/data.")
    ] = None

    reports: Annotated[Path, Field(description="Folder of reports: Markdown files with questions in them.")] = Path(
        "reports"
    )

    input_variables: Annotated[
        Variables,
        Field(
            description="Variables that contracts may use, by product: `shop=SHOP_TOKEN,SHOP_URL;*=REGION`."
            " Development allows all but Decant's own."
        ),
    ] = {}
    input_roots: Annotated[
        Roots,
        Field(
            description="Folders whose files contracts may read, by product: `shop=/srv/shop;*=/srv/shared`."
            " All contracts may read the data folder, in development also the working folder."
        ),
    ] = {}

    input_buckets: Annotated[
        Buckets,
        Field(
            description="Buckets, or folders in them, that contracts may read with this machine's credentials, by"
            " product: `shop=s3://lake/shop;*=https://minio.example/shared`. Development allows all."
        ),
    ] = {}

    database_url: Annotated[
        SecretStr | None, Field(description="URL of the owner's login, for migrations; default: embedded Postgres.")
    ] = None
    ingest_database_url: Annotated[
        SecretStr | None, Field(description="URL of the login for ingestion; default: DATABASE_URL.")
    ] = None
    read_database_url: Annotated[
        SecretStr | None,
        Field(description="URL of the API's login for reads, of primary or replica; default: DATABASE_URL."),
    ] = None
    write_database_url: Annotated[
        SecretStr | None, Field(description="URL of the API's login for writes; default: DATABASE_URL.")
    ] = None

    secret: Annotated[
        SecretStr | None,
        Field(description="Secret that signs cursors and hashes keys; default: generated, HOME/secret."),
    ] = None
    peppers: Annotated[
        PeppersByVersion,
        Field(description="Secrets that hash new keys instead of SECRET, as JSON by version; the highest is used."),
    ] = {}
