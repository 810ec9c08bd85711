#!/usr/bin/env bash
# One Kafka broker (KRaft, no Docker) out of the jars in .cache/kafka/lib.
#
#   scripts/kafka.sh start DIR [PORT]   format DIR if new, start, wait until it is ready; the port is in DIR/port
#   scripts/kafka.sh secure DIR [PORT]  the same, with two listeners more, ports in DIR/secure_ports: SASL_SSL, and SSL that asks for
#                                       certificates; keys are in DIR/tls, their password is "changeit", users "plain" and "scram"
#                                       have "secret of plain" and "secret of scram", and any unsigned token of OAuth is believed
#   scripts/kafka.sh stop DIR           stop it; the data stays in DIR
#
# Without PORT a free one is chosen; a DIR that was started before keeps its port. With KAFKA_ADVERTISED_PORT clients are sent to that port, where something
# stands between them and the broker; KAFKA_PROPERTIES are more lines of its configuration. Needs a JDK 17 and `make setup-kafka`.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
jars=$root/.cache/kafka/lib

free_ports() {
  python3 -c 'import socket
a, b = socket.socket(), socket.socket()
for s in (a, b): s.bind(("127.0.0.1", 0))
print(a.getsockname()[1], b.getsockname()[1])'
}
# running, and not a zombie that nobody has collected
alive() { [ -f "$1/pid" ] && grep -q '^State:[[:space:]]*[DRSTt]' "/proc/$(cat "$1/pid")/status" 2> /dev/null; }

# An authority, and what it signed: the broker for the name localhost alone, a client; and an authority that signed nothing.
make_keys() {
  local tls=$1 store="-storetype PKCS12 -storepass changeit" rsa="-keyalg RSA -keysize 2048 -validity 3650" who
  mkdir -p "$tls"
  # shellcheck disable=SC2086
  for who in ca other; do
    keytool -genkeypair $rsa $store -keystore "$tls/$who.p12" -alias "$who" -dname "CN=$who" -ext bc:c=ca:true
    keytool -exportcert -rfc $store -keystore "$tls/$who.p12" -alias "$who" -file "$tls/$who.pem"
  done
  # shellcheck disable=SC2086
  for who in broker client; do
    keytool -genkeypair $rsa $store -keystore "$tls/$who.p12" -alias "$who" -dname "CN=$who"
    keytool -certreq $store -keystore "$tls/$who.p12" -alias "$who" |
      keytool -gencert -rfc -validity 3650 $store -keystore "$tls/ca.p12" -alias ca -ext san=dns:localhost > "$tls/$who.pem"
    keytool -importcert -noprompt $store -keystore "$tls/$who.p12" -alias ca -file "$tls/ca.pem"
    keytool -importcert -noprompt $store -keystore "$tls/$who.p12" -alias "$who" -file "$tls/$who.pem"
  done
  # shellcheck disable=SC2086
  keytool -importcert -noprompt $store -keystore "$tls/trust.p12" -alias ca -file "$tls/ca.pem"
}

# Listeners that only known clients may use.
secure_properties() {
  local dir=$1 port=$2 controller=$3 sasl tls login=org.apache.kafka.common.security
  [ -f "$dir/secure_ports" ] || free_ports > "$dir/secure_ports"
  read -r sasl tls < "$dir/secure_ports"
  [ -f "$dir/tls/trust.p12" ] || make_keys "$dir/tls" > "$dir/tls.log" 2>&1 || fail "$dir/tls.log"
  cat >> "$dir/server.properties" << P
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller,SASL_SSL://127.0.0.1:$sasl,SSL://127.0.0.1:$tls
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SASL_SSL://localhost:$sasl,SSL://localhost:$tls
inter.broker.listener.name=PLAINTEXT
ssl.keystore.type=PKCS12
ssl.keystore.location=$dir/tls/broker.p12
ssl.keystore.password=changeit
ssl.key.password=changeit
ssl.truststore.type=PKCS12
ssl.truststore.location=$dir/tls/trust.p12
ssl.truststore.password=changeit
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
listener.name.sasl_ssl.plain.sasl.jaas.config=$login.plain.PlainLoginModule required user_plain="secret of plain";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=$login.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=$login.scram.ScramLoginModule required;
# unsigned tokens, and nobody stays whose token has ended
listener.name.sasl_ssl.oauthbearer.sasl.jaas.config=$login.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl_ssl.oauthbearer.connections.max.reauth.ms=3600000
P
}

start() {
  local dir=$1 port controller users=()
  [ -d "$jars" ] || { echo "kafka.sh: no jars in $jars: run \`make setup-kafka\`" >&2; exit 3; }
  if alive "$dir"; then echo "kafka.sh: a broker runs already in $dir" >&2; exit 2; fi
  if [ -f "$dir/ports" ]; then
    read -r port controller < "$dir/ports"
  else
    read -r port controller < <(free_ports)
    port=${2:-$port}
    echo "$port $controller" > "$dir/ports"
  fi
  cat > "$dir/server.properties" <<P
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:${KAFKA_ADVERTISED_PORT:-$port}
controller.listener.names=CONTROLLER
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0
# silent for so long it is taken for dead, and no partition has a leader: a loaded machine must not do that to the only broker; one that
# was killed comes back only after this, as the controller waits for the broker it knew
broker.session.timeout.ms=9000
broker.heartbeat.interval.ms=1000
# event times lie in the past: retention by time would delete the input
log.retention.ms=-1
${KAFKA_PROPERTIES:-}
P
  if [ -n "${3:-}" ] || [ -f "$dir/secure_ports" ]; then
    secure_properties "$dir" "$port" "$controller"
    users=(--add-scram 'SCRAM-SHA-512=[name=scram,password="secret of scram"]'
      --add-scram 'SCRAM-SHA-256=[name=scram,password="secret of scram"]')
  fi
  java -cp "$jars/*" kafka.tools.StorageTool format --ignore-formatted -t 4L6g3nShT-eMCtK--X86sw "${users[@]}" \
    -c "$dir/server.properties" > "$dir/format.log" 2>&1 || fail "$dir/format.log"
  : >> "$dir/broker.log"
  local seen
  seen=$(wc -c < "$dir/broker.log")
  setsid java -Xms256m -Xmx512m -XX:+UseG1GC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn \
    -Dorg.slf4j.simpleLogger.log.kafka.server.KafkaRaftServer=info -cp "$jars/*" kafka.Kafka "$dir/server.properties" \
    < /dev/null >> "$dir/broker.log" 2>&1 &
  echo $! > "$dir/pid"
  local tries=0
  # the port listens before the broker may take topics, so its own word counts
  until grep -q 'Kafka Server started' < <(tail -c "+$((seen + 1))" "$dir/broker.log"); do
    tries=$((tries + 1))
    if ! alive "$dir" || [ "$tries" -gt 300 ]; then
      stop "$dir"
      fail "$dir/broker.log"
    fi
    sleep 0.2
  done
  echo "$port" > "$dir/port"
}

fail() {
  echo "kafka.sh: the broker did not start; from $1:" >&2
  { grep -iE 'exception|error' "$1" || tail -n 5 "$1"; } | head -n 5 >&2
  exit 1
}

stop() {
  alive "$1" || { rm -f "$1/pid"; return 0; }
  local pid tries=0
  pid=$(cat "$1/pid")
  kill "$pid"
  while alive "$1"; do
    tries=$((tries + 1))
    if [ "$tries" -eq 100 ]; then kill -9 "$pid"; fi
    sleep 0.2
  done
  rm -f "$1/pid"
}

[ $# -ge 2 ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir -p "$2"
dir=$(cd "$2" && pwd)
case $1 in
  start) start "$dir" "${3:-}" ;;
  secure) start "$dir" "${3:-}" secure ;;
  stop) stop "$dir" ;;
  *) echo "kafka.sh: start, secure or stop, not $1" >&2; exit 2 ;;
esac
