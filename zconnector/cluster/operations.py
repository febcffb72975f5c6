"""What an operator asks of a member through its control socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from zconnector.actions import Actions, ControlReply, Hash
from zconnector.clock import Instant
from zconnector.cluster.admission import Admission
from zconnector.cluster.configure import Configure
from zconnector.cluster.context import Context
from zconnector.cluster.explaining import Explaining
from zconnector.cluster.store import Component, ComponentId, Declare, Rebind, Revoke
from zconnector.configuration.logical import Layers
from zconnector.configuration.pivot import Pivot, ProductConnector, read_yaml
from zconnector.errors import ConfigError, Reason, Refusal, StorageError
from zconnector.messages.fields import is_name
from zconnector.shoset.enrolment import Endpoint, Enrolment
from zconnector.versions.changes import Changes, check_layer

Args = Mapping[str, Any]
_MAX_PERMISSIONS = 256


class Operations:
    """The control operations; each ends in exactly one `reply`."""

    def __init__(
        self,
        context: Context,
        admission: Admission,
        configure: Configure,
        explaining: Explaining,
        member: Endpoint,
        new_secret: Callable[[], str],
    ) -> None:
        """`member` is this member's own endpoint; `new_secret` makes an unguessable text."""
        self._context = context
        self._admission = admission
        self._configure = configure
        self._explaining = explaining
        self._member = member
        self._new_secret = new_secret
        self._operations: dict[str, Callable[[Args, Instant, ControlReply], Actions]] = {
            "secret_create": self._secret_create,
            "secret_list": self._secret_list,
            "secret_rebind": self._secret_rebind,
            "secret_revoke": self._secret_revoke,
            "pivot_put": self._pivot_put,
            "pivot_show": self._pivot_show,
            "config_set": self._config_set,
            "config_change": self._config_change,
            "config_get": self._config_get,
            "explain": self._explain,
        }

    def perform(self, op: str, args: Args, now: Instant, reply: ControlReply) -> Actions:
        """Do what is asked, or reply with the refusal that names value and rule."""
        operation = self._operations.get(op)
        try:
            if operation is None:
                raise ConfigError(f"a cluster member has no operation {op!r:.80}")
            return operation(args, now, reply)
        except ConfigError as error:
            reply(Refusal(Reason.BAD_ARGUMENT, str(error)))
        except Refusal as refusal:
            reply(refusal)
        except StorageError as error:
            reply(Refusal(Reason.STORAGE_FAILED, str(error)))
            return self._context.commits.broken(error)
        return []

    # ---- secrets

    def _secret_create(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        identity = _identity(args)
        connector_type = _name(args, "type") if identity.kind == "connector" else ""
        permissions = _permissions(args.get("permissions", ["*"]))
        endpoints = self._endpoints(identity, args)
        known = self._context.components.get(identity)
        if known is not None and known.key and not known.revoked:
            raise _declared(identity)
        secret = self._new_secret()

        def hashed(later: Instant, text: str) -> Actions:
            component = Component(*identity, type=connector_type, permissions=permissions, hashed=text)
            return self._context.commits.commit([Declare(component)], declared(component), not_stored(reply))

        def declared(component: Component) -> Callable[[Instant, Any], Actions]:
            def then(later: Instant, results: Any) -> Actions:
                if not results[0]:
                    reply(_declared(identity))
                    return []
                self._context.components.put(component)
                enrolment = Enrolment(
                    kind=identity.kind,
                    tenant=identity.tenant,
                    name=identity.name,
                    instance=identity.instance,
                    type=connector_type,
                    secret=secret,
                    endpoints=endpoints,
                )
                reply({"enrolment": enrolment.encode(), **_described(component)})
                return []

            return then

        return [Hash(secret.encode(), hashed)]

    def _endpoints(self, identity: ComponentId, args: Args) -> tuple[Endpoint, ...]:
        """Where the new component will find the level above it."""
        if args.get("endpoints"):
            return _given_endpoints(args["endpoints"])
        if identity.kind == "aggregator":
            return (self._member,)
        aggregator = _name(args, "aggregator")
        known = self._context.components.instances(identity.tenant, aggregator)
        if not known:
            raise ConfigError(
                f"no instance of aggregator {aggregator!r} of tenant {identity.tenant!r} has been here yet: "
                "start one first, or give its endpoints"
            )
        return tuple(Endpoint(c.instance, c.endpoint, c.server_key) for c in known)

    def _secret_list(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant = _name(args, "tenant") if args.get("tenant") else ""
        reply({"components": [_described(c) for c in self._context.components.all(tenant)]})
        return []

    def _secret_rebind(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        component = self._declared_one(args)

        def then(later: Instant, results: Any) -> Actions:
            changed = replace(component, key="")
            self._context.components.put(changed)
            reply(_described(changed))
            return []

        return self._context.commits.commit([Rebind(component.identity)], then, not_stored(reply))

    def _secret_revoke(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        component = self._declared_one(args)

        def then(later: Instant, results: Any) -> Actions:
            changed = replace(component, revoked=True)
            self._context.components.put(changed)
            reply(_described(changed))
            return self._admission.revoked(changed, later)

        return self._context.commits.commit([Revoke(component.identity)], then, not_stored(reply))

    def _declared_one(self, args: Args) -> Component:
        identity = _identity(args)
        known = self._context.components.get(identity)
        if known is None:
            raise Refusal(Reason.NOT_FOUND, f"{identity} is not declared")
        if known.revoked:
            raise Refusal(Reason.REVOKED, f"{identity} was revoked before: zconnector secret create")
        return known

    # ---- pivots and configuration

    def _pivot_put(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant = _name(args, "tenant")
        document = _document(args)
        product = args.get("product") or document.get("product")
        item: Pivot | ProductConnector
        if product:
            item = ProductConnector.from_dict({**document, "product": product})
        else:
            item = replace(Pivot.from_dict(document), implicit=False)

        def outcome(later: Instant, refusal: Refusal | None) -> Actions:
            commands = [command.name for command in item.commandtypes]
            stored = {"name": item.name, "version": str(item.version), "commands": commands}
            reply(refusal or (stored | {"product": product} if product else stored))
            return []

        return self._configure.put(tenant, item, outcome)

    def _pivot_show(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant = _name(args, "tenant")
        if not args.get("type"):
            reply({"types": self._context.catalogues.types(tenant)})
            return []
        connector_type = _name(args, "type")
        catalogue = self._context.catalogues.of(tenant, connector_type)
        if not catalogue.versions:
            raise Refusal(Reason.NOT_FOUND, f"tenant {tenant!r} has no pivot of {connector_type!r}")
        reply(catalogue.to_dict())
        return []

    def _config_set(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant, name = _name(args, "tenant"), _name(args, "name")
        values = args.get("values")
        if not isinstance(values, dict):
            raise ConfigError(f"values must be a JSON object, not {values!r:.60}")
        self._declared_connector(tenant, name)
        check_layer(self._context.reads.configuration(tenant, name), values)
        return self._configure.set_values(tenant, name, values, _replying(reply), operator=True)

    def _config_change(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant, name = _name(args, "tenant"), _name(args, "name")
        changes = Changes.from_args(args)
        self._declared_connector(tenant, name)
        return self._configure.change_values(tenant, name, changes.apply, _replying(reply))

    def _declared_connector(self, tenant: str, name: str) -> None:
        if self._context.components.connector(tenant, name) is None:
            raise Refusal(Reason.NOT_FOUND, f"connector {tenant}/{name} is not declared")

    def _config_get(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        tenant, name = _name(args, "tenant"), _name(args, "name")
        layers = self._context.reads.configuration(tenant, name)
        if layers.version == 0:
            self._declared_connector(tenant, name)
        reply({**layers.in_force.to_dict(), "saved": dict(layers.saved), "operator": dict(layers.operator)})
        return []

    def _explain(self, args: Args, now: Instant, reply: ControlReply) -> Actions:
        reply(self._explaining.explain(args, now))
        return []


def _replying(reply: ControlReply) -> Callable[[Instant, Layers | Refusal], Actions]:
    """Tells the operator what is in force after a change, or why it was not made."""

    def then(_: Instant, outcome: Layers | Refusal) -> Actions:
        reply(outcome if isinstance(outcome, Refusal) else outcome.in_force.to_dict())
        return []

    return then


def not_stored(reply: ControlReply) -> Callable[[Instant], Actions]:
    """What a failed commit tells the operator."""

    def failed(_: Instant) -> Actions:
        reply(Refusal(Reason.STORAGE_FAILED, "the change could not be stored"))
        return []

    return failed


def _declared(identity: ComponentId) -> Refusal:
    return Refusal(
        Reason.CONFLICT,
        f"{identity} is declared and in use: secret revoke it first, or secret rebind its key",
    )


def _described(component: Component) -> dict[str, Any]:
    return {
        "tenant": component.tenant,
        "kind": component.kind,
        "name": component.name,
        "instance": component.instance,
        "type": component.type,
        "permissions": list(component.permissions),
        "bound": bool(component.key),
        "revoked": component.revoked,
        "endpoint": component.endpoint,
    }


def _identity(args: Args) -> ComponentId:
    kind = args.get("kind")
    if kind not in ("connector", "aggregator"):
        raise ConfigError(f"kind must be connector or aggregator, not {kind!r:.60}")
    instance = _name(args, "instance") if args.get("instance") else "0"
    if kind == "connector" and instance != "0":
        raise ConfigError(f"instance of a connector must be 0, not {instance!r}")
    return ComponentId(_name(args, "tenant"), kind, _name(args, "name"), instance)


def _name(args: Args, field: str) -> str:
    value = args.get(field)
    if not isinstance(value, str) or not is_name(value):
        raise ConfigError(f"{field} must be 1 to 128 of A-Z a-z 0-9 _ . -, not {value!r:.60}")
    return value


def _permissions(values: object) -> tuple[str, ...]:
    if not isinstance(values, list) or len(values) > _MAX_PERMISSIONS:
        raise ConfigError(f"permissions must be a list of at most {_MAX_PERMISSIONS}, not {values!r:.60}")
    for value in values:
        if not isinstance(value, str) or not _is_permission(value):
            raise ConfigError(f"permission {value!r:.60} must be TYPE, TYPE:COMMAND or *")
    return tuple(dict.fromkeys(values))


def _is_permission(value: str) -> bool:
    connector_type, separator, command = value.partition(":")
    if value == "*":
        return True
    return is_name(connector_type) and (not separator or 0 < len(command.encode()) <= 256)


def _given_endpoints(values: object) -> tuple[Endpoint, ...]:
    if not isinstance(values, list):
        raise ConfigError(f"endpoints must be a list, not {values!r:.60}")
    endpoints: list[Endpoint] = []
    for value in values:
        if not isinstance(value, dict) or not all(
            isinstance(value.get(field), str) for field in ("instance", "endpoint", "key")
        ):
            raise ConfigError('each of endpoints must be {"instance", "endpoint", "key"}, all texts')
        endpoints.append(Endpoint(value["instance"], value["endpoint"], value["key"]))
    return tuple(endpoints)


def _document(args: Args) -> Mapping[str, Any]:
    text, document = args.get("yaml"), args.get("json")
    if isinstance(text, str):
        return read_yaml(text, "pivot")
    if isinstance(document, dict):
        return document
    raise ConfigError("pivot_put needs `yaml` (a text) or `json` (an object)")
