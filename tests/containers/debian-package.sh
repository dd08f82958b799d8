# In a fresh Debian under systemd, as root: the package of an older version is installed, upgraded after a setting was
# changed, removed, installed again and purged. /deb has both packages, the new one's version is $1, the old one's $2.
set -ex -o pipefail

ready() { curl --silent --fail --retry 60 --retry-delay 1 --retry-all-errors --output /dev/null "http://127.0.0.1:$1/readyz"; }
upload() { curl --silent --fail --form "file=@/pictures/$2" "http://127.0.0.1:$1/"; }
serving() { curl --silent --fail "http://127.0.0.1:$1/metrics" | grep '^espy_build_info' | grep --fixed-strings "version=\"$2\""; }
recorded() { espy history list --store sqlite:/var/lib/espy/history.db | grep --count '\.png'; }
pid() { systemctl show --property MainPID --value espy; }

apt-get update -qq
apt-get install -y -qq --no-install-recommends "/deb/espy_$2_amd64.deb" >/dev/null
id espy
espy --version | grep "$2"
test "$(stat --format '%U %a' /var/lib/espy)" = 'espy 700'
systemctl is-enabled espy
ready 5000
serving 5000 "$2"
[[ "$(upload 5000 seven.png)" == 'The result is: 7' ]]
test "$(ps -o user= -p "$(pid)")" = espy

# A setting of one's own, and an upgrade: the service comes back as the new program, with both the setting and the data.
echo ESPY_PORT=5001 >> /etc/default/espy
before=$(pid)
apt-get install -y -qq "/deb/espy_$1_amd64.deb" >/dev/null
grep ESPY_PORT=5001 /etc/default/espy
test "$(pid)" != "$before"
ready 5001
serving 5001 "$1"
test "$(recorded)" = 1
[[ "$(upload 5001 ankle_boot.png)" == 'The result is: '* ]]
test "$(recorded)" = 2
# What the sandbox is worth, of the unit as it runs.
systemd-analyze security --no-pager --threshold=20 espy.service | tail -n 1
# Down again: an older program on a history of the same schema.
apt-get install -y -qq --allow-downgrades "/deb/espy_$2_amd64.deb" >/dev/null
ready 5001
serving 5001 "$2"
test "$(recorded)" = 2
apt-get install -y -qq "/deb/espy_$1_amd64.deb" >/dev/null

# Removed: the program goes, settings and data stay, and are found again.
apt-get remove -y -qq espy >/dev/null
if systemctl is-active espy; then exit 1; fi
test ! -e /usr/bin/espy
test -e /etc/default/espy
apt-get install -y -qq "/deb/espy_$1_amd64.deb" >/dev/null
ready 5001
test "$(recorded)" = 2

# Purged: nothing stays but the history, and what wrote it is told apart from others still.
apt-get purge -y -qq espy
test ! -e /etc/default/espy
test ! -e /usr/bin/espy
test ! -e /lib/systemd/system/espy.service
test ! -e /etc/systemd/system/multi-user.target.wants/espy.service
test -s /var/lib/espy/history.db
find / -xdev \( -path /deb -o -path /tests -o -path /proc \) -prune -o -name '*espy*' -print
id espy
