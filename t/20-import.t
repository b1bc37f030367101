#!/usr/bin/env perl
# Configurations of other balancers, carried over by steelyardctl import: what is written loads and says
# what the original said; what has no equal is reported; nothing is overwritten; broken files are refused.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/lib";
use Certificates;
use File::Temp qw(tempdir);
use Test::More;
use Steelyard;

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
chdir $dir or die $!;
my $certs = Certificates->new;
$certs->authority('ca');
my $ca = $certs->path('ca.crt');
my $head = $> == 0 ? "user nobody;\n" : '';

sub put {
	my ($file, $text) = @_;
	open my $out, '>', $file or die "$file: $!";
	print $out $text;
	close $out or die $!;
}
sub slurp { open my $in, '<', $_[0] or return ''; local $/; scalar <$in> }

# (exit status, what was said, report, normalised configuration)
sub import {
	my ($kind, $text, $folder) = @_;
	put("$folder.in", $text);
	my $said = `@{[ Steelyard::steelyardctl() ]} import $kind $folder.in $folder 2>&1`;
	my $status = $? >> 8;
	return ($status, $said, '', '') if $status;
	put("$folder.conf", "${head}include $folder/*.conf;\n");
	my $conf = `@{[ Steelyard::steelyardd() ]} -T -m @{[ Steelyard::modules() ]} -c $folder.conf 2>$folder.err`;
	is($?, 0, "$folder: what is written loads") or diag slurp("$folder.err");
	$conf =~ s/  # .*//mg;
	return ($status, $said, slurp("$folder/REPORT"), $conf);
}

sub block { my ($conf, $what) = @_; $conf =~ /^(\Q$what\E \{\n.*?^\}\n)/ms ? $1 : "no $what" }

# ---- HAProxy ----
my $haproxy = <<'CFG' =~ s/CAFILE/$ca/gr;
global
    log /dev/log local0
    maxconn 20000
    user haproxy

defaults
    mode tcp
    log global
    option dontlognull
    timeout connect 5s
    timeout client  30m   # SIP is quiet
    timeout server  30m
    retries 3

frontend lync-sip
    bind 10.0.0.5:5061,10.0.0.5:444 name sip
    bind :::5061 v6only
    maxconn 5000
    default_backend fe-pool

backend fe-pool
    balance leastconn
    stick-table type ip size 100k expire 20m
    stick on src
    default-server inter 5s fall 3 rise 2
    server fe1 10.0.0.11 check port 5061 weight 10
    server fe2 10.0.0.12 check port 5061 weight 20 maxconn 100
    server "fe 3" 10.0.0.13 check disabled

listen web
    mode http
    bind *:80 accept-proxy
    balance uri
    option httpchk GET /healthcheck.htm
    http-check expect status 200-299
    http-request set-header X-Forwarded-Proto http
    acl is_api path_beg /api
    cookie SRV insert indirect nocache
    option forwardfor
    use_backend other if is_api
    server w1 192.0.2.1:8080 check
    server w2 [2001:db8::2]:8080 check
    server spare 192.0.2.9:8080 backup

listen owa
    bind 10.0.0.6:443 ssl crt /nowhere/owa.pem alpn h2,http/1.1
    option ssl-hello-chk
    server ex1 10.0.0.21:443 ssl verify required ca-file CAFILE check inter 10s
    server ex2 10.0.0.22:443 ssl verify required ca-file CAFILE check send-proxy-v2 agent-check

listen transparent
    bind 10.0.0.7:25
    source 0.0.0.0 usesrc clientip
    balance source
    option smtpchk
    server mx 10.0.0.31:25 check ssl verify required ca-file /nowhere/ca.pem
    server-template web 1-3 10.0.0.32:25
    disabled

frontend rules-only
    bind 10.0.0.8:443
    use_backend fe-pool if { req_ssl_sni -i a.example.net }

frontend sock
    bind /run/x.sock
    default_backend fe-pool

peers mine
    peer a 10.0.0.1:1024
CFG
{
	my ($status, $said, $report, $conf) = import('haproxy', $haproxy, 'ha');
	is($status, 0, 'HAProxy: carried over') or diag $said;
	is($said, $report, 'the report is printed, and kept');
	my $sip = block($conf, 'virtual-service lync-sip');
	like($sip, qr/^\tlisten 10\.0\.0\.5:5061;\n\tlisten 10\.0\.0\.5:444;\n\tlisten \[::\]:5061;/m, 'addresses, several on one line');
	like($sip, qr/^\t\Q$_\E;/m, "sip: $_")
		for 'idle-timeout 30m', 'connect-timeout 5s', 'max-connections 5000', 'scheduler least-connections', 'snat on', 'pool lync-sip-servers';
	like($sip, qr/persistence source \{\n\t\ttimeout 20m;/, 'a stick table by source is persistence');
	like($sip, qr/monitor tcp \{\n\t\tport 5061;\n\t\tinterval 5s;\n/, 'checks, with the port of their own');
	my $pool = block($conf, 'pool lync-sip-servers');
	like($pool, qr/^\tserver fe1 10\.0\.0\.11 weight=10/m, 'weights');
	like($pool, qr/^\tserver fe2 10\.0\.0\.12 weight=20 max-connections=100/m, 'limits');
	like($pool, qr/^\tserver fe-3 10\.0\.0\.13 weight=0/m, 'one that is switched off, with a name in quotes');
	my $web = block($conf, 'virtual-service web');
	like($web, qr/^\tlisten \*:80;/m, 'all addresses') or diag $web;
	like($web, qr/monitor http \{\n\t\tpath \/healthcheck\.htm;\n\t\tstatus 200-299;/, 'checks by HTTP');
	like($web, qr/protocol http \{.*persistence cookie \{.*\tname SRV;/s, 'requests, and a cookie') or diag $web;
	like($web, qr/sorry-pool web-sorry;/, 'a backup server is the sorry pool');
	like(block($conf, 'pool web-sorry'), qr/server spare 192\.0\.2\.9:8080/, 'with that server');
	like(block($conf, 'pool web-servers'), qr/server w2 \[2001:db8::2\]:8080/, 'IPv6');
	my $owa = block($conf, 'virtual-service owa');
	like($owa, qr/^\tenabled off;/m, 'a service whose certificate is not here is switched off');
	like($owa, qr/monitor tls/, 'a handshake as the check');
	like($owa, qr/send-proxy v2;/, 'PROXY');
	like(block($conf, 'pool owa-servers'), qr/tls \{.*verify on;.*ca \Q$ca\E;/s, 'TLS to servers, verified');
	my $mail = block($conf, 'virtual-service transparent');
	like($mail, qr/^\tsnat off;/m, 'transparency');
	like($mail, qr/^\tscheduler source-hash\b/m, 'balance source');
	like(block($conf, 'pool transparent-servers'), qr/verify on;/, 'authorities that are not here do not make it careless');
	like($mail, qr/^\tenabled off;/m, 'disabled');
	unlike($conf, qr/rules-only|virtual-service sock/, 'what cannot be is left out');
	for my $lost (qr/line \d+, listen web: http-request set-header/, qr/listen web: acl is_api/, qr/listen web: use_backend other/,
		qr/balance uri has no equal/, qr/accept-proxy/, qr/certificate \/nowhere\/owa\.pem is no file on this machine/,
		qr/server option agent-check/, qr/frontend rules-only: use_backend fe-pool/, qr/rules-only: it has no default_backend/,
		qr/bind \/run\/x\.sock/, qr/section peers/, qr/authorities \/nowhere\/ca\.pem are not on this machine/, qr/server-template web/, qr/it listens nowhere, so there is no service sock/) {
		like($report, $lost, "reported: $lost");
	}
	my $n = () = $report =~ /^line /mg;
	like($report, qr/^4 services from ha\.in\. Not carried over: $n$/m, 'and counted');
	unlike($report, qr/dontlognull|retries|timeout/, 'what is so here anyway is not');

	my $again = `@{[ Steelyard::steelyardctl() ]} import haproxy ha.in ha 2>&1`;
	is($? >> 8, 1, 'a second time: refused');
	like($again, qr/lync-sip\.conf is there already, and is never overwritten/, 'in words');
	is(slurp('ha/REPORT'), $report, 'and nothing has changed');
}

# Files of other times and habits: an address behind the name, defaults that have names and default-server,
# variables, certificates in a folder, names that become the same here.
{
	mkdir "$dir/certs";
	my ($status, $said, $report, $conf) = import('haproxy', <<"CFG", 'ha2');
global
	daemon
defaults
	mode tcp
	timeout connect 5000
	timeout client 1800000
	timeout server 1800000
	default-server inter 7s fall 4 rise 1
listen old 10.0.0.5:135
	server fe1 10.0.0.11:135 check port 5061
	server "a b" 10.0.0.12:135
	server a-b 10.0.0.13:135
frontend named
	bind \${VIP}:5080
	bind 10.0.0.5:444,10.0.0.5:5070-5076
	default_backend fe
backend fe
	source 10.0.0.4
	server fe1 10.0.0.11 check
	server fe2 "\${FE2}" check
defaults long
	timeout client 2h
defaults web from long
	mode http
	timeout client 60s
	timeout http-request 20s
	timeout http-keep-alive 10s
frontend ../owa from web
	bind 10.0.0.6:443 ssl crt $dir/certs no-sslv3 ssl-min-ver TLSv1.2 ciphers HIGH
	default_backend ex
backend ex from web
	server ex1 10.0.0.21:443
frontend long from long
	bind 10.0.0.7:443
	default_backend ex
frontend lost from nowhere
	bind 10.0.0.8:443
	default_backend ex
CFG
	is($status, 0, 'HAProxy, of other habits: carried over') or diag $said;
	my $old = block($conf, 'virtual-service old');
	like($old, qr/listen 10\.0\.0\.5:135;.*port 5061;\n\t\tinterval 7s;.*rise 1;\n\t\tfall 4;/s, 'an address behind the name, and default-server of defaults');
	like(block($conf, 'pool old-servers'), qr/server a-b 10\.0\.0\.12.*server a-b-2 10\.0\.0\.13/s, 'names that become the same differ');
	my $named = block($conf, 'virtual-service named');
	like($named, qr/listen 10\.0\.0\.5:444;\n\tlisten 10\.0\.0\.5:5070-5076;.*snat 10\.0\.0\.4;/s, 'source is what servers see') or diag $named;
	my $owa = block($conf, 'virtual-service owa');
	like($owa, qr/enabled off;.*protocol http \{.*header-timeout 20s;.*keepalive-timeout 10s;/s, 'times of requests; a folder is no certificate') or diag $owa;
	like(block($conf, 'virtual-service long'), qr/idle-timeout 2h;/, 'defaults by name');
	for my $lost (qr/bind \$\{VIP\}:5080/, qr/server fe2 \$\{FE2\} check/, qr/bind: ciphers HIGH/, qr/certificate \S+\/certs is no file/,
		qr/from nowhere: there are no such defaults/) {
		like($report, $lost, "reported: $lost");
	}
	like($report, qr/Not carried over: 5$/m, 'and nothing else') or diag $report;
}

# A reverse proxy: backends by host and path become rules; what looks at anything else does not, and lets nobody in
# who was kept out.
{
	my ($status, $said, $report, $conf) = import('haproxy', <<'CFG', 'ha3');
defaults
	mode http
	timeout client 30m
	timeout server 30m
frontend web
	bind 203.0.113.10:80
	acl meet hdr(host) -i meet.example.net
	acl meet hdr_beg(host) -i lyncdiscover
	acl dom hdr_dom(host) -i example.org example.info
	acl owa path_beg -i /owa /ecp
	acl api path_beg /api/
	acl old path_reg ^/v[0-9]+/
	acl inside src 10.0.0.0/8
	acl idle hdr(host) x
	use_backend fe if meet api or dom
	use_backend ex if owa || { path_end .asmx }
	use_backend ex if { hdr_end(host) .example.com } old
	use_backend fe if inside
	use_backend fe if !meet
	use_backend fe unless meet
	use_backend %[req.hdr(host),lower]
	default_backend oos
frontend only-rules
	bind 203.0.113.11:80
	use_backend fe if { hdr(host) a.example.net "b;}.example.net" }
frontend only-lost
	bind 203.0.113.12:80
	use_backend fe if { src 10.0.0.0/8 }
backend fe
	server fe1 10.0.0.11:8080 check inter 5s
backend ex
	server ex1 10.0.0.21:80 ssl verify none check port 443
	server spare 10.0.0.29:80 backup
backend oos
	cookie OOS insert
	server oos1 10.0.0.81:80
CFG
	is($status, 0, 'HAProxy as a reverse proxy: carried over') or diag $said;
	my $web = block($conf, 'virtual-service web');
	my @rules = map { join ' ', split ' ', s/\ttls any;.*//sr } $web =~ /\trule \{(.*?)\n\t\t\}/gs;
	is_deeply(\@rules, ['host meet.example.net lyncdiscover*; path /api/*; pool web-fe-servers;', 'host example.org *.example.org example.info *.example.info; pool web-fe-servers;',
		'path "~(?i)^\\\\Q/owa\\\\E" "~(?i)^\\\\Q/ecp\\\\E"; pool web-ex-servers;', 'path *.asmx; pool web-ex-servers;',
		'host *.example.com; path ~^/v[0-9]+/; pool web-ex-servers;'], 'rules, in their order') or diag $web;
	like($web, qr/pool web-servers;.*persistence cookie/s, 'and what no rule is for');
	like($web, qr/monitor tcp \{\n\t\tpools web-fe-servers;.*monitor tls \{\n\t\tpools web-ex-servers;\n\t\tport 443;/s, 'each pool has its own check');
	like(block($conf, 'pool web-ex-servers'), qr/ex1.*tls \{/s, 'and its own TLS');
	my $only = block($conf, 'virtual-service only-rules');
	like($only, qr/host a\.example\.net "b;\}\.example\.net";.*pool only-rules-servers;.*rule \{\s+deny on;/s, 'without a default the rest is refused') or diag $only;
	unlike($conf, qr/only-lost/, 'without a rule that is known there is no service');
	for my $lost (qr/acl inside src/, qr/acl idle hdr/, qr/use_backend fe if inside/, qr/use_backend fe if !meet/, qr/use_backend fe unless/, qr/use_backend %\[/,
		qr/backup server spare/, qr/only-lost: it has no default_backend, and no rules/) {
		like($report, $lost, "reported: $lost");
	}
}

# ---- LoadMaster ----
my $xml = <<'XML';
<?xml version="1.0" encoding="ISO-8859-1"?>
<Response stat="200" code="ok">
<!-- of a lab -->
<Success><Data>
<VS><Status>Up</Status><Index>1</Index><VSAddress>10.0.0.5</VSAddress><VSPort>5061</VSPort><Enable>Y</Enable>
<SSLReverse>N</SSLReverse><SSLReencrypt>N</SSLReencrypt><Intercept>N</Intercept><Transparent>N</Transparent>
<Cache>N</Cache><Compress>N</Compress><Verify>0</Verify><UseforSnat>Y</UseforSnat><ForceL7>Y</ForceL7>
<ClientCert>0</ClientCert><ErrorCode>0</ErrorCode><NickName>Lync FE SIP &amp; more</NickName><ExtraPorts>444,5070-5072</ExtraPorts>
<Idletime>1800</Idletime><SSLAcceleration>N</SSLAcceleration><Schedule>lc</Schedule><Persist>src</Persist><PersistTimeout>1200</PersistTimeout>
<Protocol>tcp</Protocol><CheckType>tcp</CheckType><CheckPort>5061</CheckPort><NRules>0</NRules><MasterVSID>0</MasterVSID><AddVia>2</AddVia>
<NumberOfRSs>2</NumberOfRSs>
<Rs><Status>Up</Status><VSIndex>1</VSIndex><RsIndex>1</RsIndex><Addr>10.0.0.11</Addr><Port>5061</Port><Forward>nat</Forward><Weight>1000</Weight><Limit>0</Limit><Enable>Y</Enable></Rs>
<Rs><Status>Down</Status><VSIndex>1</VSIndex><RsIndex>2</RsIndex><Addr>10.0.0.12</Addr><Port>5061</Port><Forward>nat</Forward><Weight>500</Weight><Limit>200</Limit><Enable>N</Enable></Rs>
</VS>
<VS><Index>2</Index><VSAddress>10.0.0.7</VSAddress><VSPort>3478</VSPort><Enable>Y</Enable><ForceL7>N</ForceL7><Transparent>Y</Transparent>
<Schedule>lc</Schedule><Persist>src</Persist><PersistTimeout>1200</PersistTimeout><Protocol>udp</Protocol><CheckType>icmp</CheckType>
<Rs><Addr>10.0.0.21</Addr><Port>3478</Port><Forward>route</Forward><Weight>1000</Weight><Enable>Y</Enable></Rs></VS>
<VS><Index>3</Index><VSAddress>10.0.0.8</VSAddress><VSPort>443</VSPort><Enable>Y</Enable><ForceL7>Y</ForceL7><Transparent>N</Transparent>
<NickName>OWA</NickName><VStype>http</VStype><SSLAcceleration>Y</SSLAcceleration><SSLReencrypt>Y</SSLReencrypt><CertFile>owa2019</CertFile>
<Schedule>wrr</Schedule><Persist>active-cook-src</Persist><PersistTimeout>3600</PersistTimeout><Protocol>tcp</Protocol>
<CheckType>https</CheckType><CheckUrl>/owa/healthcheck.htm</CheckUrl><CheckPort>0</CheckPort><NRules>2</NRules><EspEnabled>Y</EspEnabled><AddVia>5</AddVia>
<StandbyAddr>10.0.0.99</StandbyAddr><StandbyPort>80</StandbyPort>
<Rs><Addr>10.0.0.31</Addr><Port>443</Port><Weight>1000</Weight><Enable>Y</Enable></Rs></VS>
<VS><Index>4</Index><MasterVSID>3</MasterVSID><NickName>sub</NickName></VS>
<VS><Index>5</Index><VSAddress>2001:db8::5</VSAddress><VSPort>25</VSPort><Enable>N</Enable><ForceL7>Y</ForceL7><Transparent>N</Transparent>
<Schedule>fixed</Schedule><Protocol>tcp</Protocol><CheckType>smtp</CheckType>
<Rs><Addr>2001:db8::31</Addr><Port>25</Port><Enable>Y</Enable></Rs><Rs><Addr>2001:db8::31</Addr><Port>26</Port><Enable>Y</Enable></Rs></VS>
<VS><Index>6</Index><VSAddress>10.0.0.9</VSAddress><VSPort>80</VSPort><Enable>Y</Enable><Protocol>tcp</Protocol><CheckType>http</CheckType>
<CheckUrl>/ok</CheckUrl><CheckUseGet>1</CheckUseGet><Schedule>dl</Schedule></VS>
</Data></Success></Response>
XML
sub check_loadmaster {
	my ($what, $said, $report, $conf) = @_;
	my $sip = block($conf, 'virtual-service Lync-FE-SIP-more');
	like($sip, qr/^\tlisten 10\.0\.0\.5:5061;\n\tlisten 10\.0\.0\.5:444;\n\tlisten 10\.0\.0\.5:5070-5072;/m, "$what: extra ports");
	like($sip, qr/^\t\Q$_\E;/m, "$what: $_") for 'idle-timeout 30m', 'snat on', 'scheduler least-connections';
	like($sip, qr/persistence source \{\n\t\ttimeout 20m;/, "$what: persistence");
	like($sip, qr/monitor tcp \{\n\t\tport 5061;/, "$what: check");
	my $pool = block($conf, 'pool Lync-FE-SIP-more-servers');
	like($pool, qr/10\.0\.0\.11 \S*weight=1000.*port=5061|10\.0\.0\.11.*port=5061.*weight=1000/, "$what: a server with its port");
	like($pool, qr/10\.0\.0\.12.*weight=0.*max-connections=200|10\.0\.0\.12.*max-connections=200.*weight=0/, "$what: one that is switched off");
	my $turn = block($conf, 'virtual-service vs-10.0.0.7-3478');
	like($turn, qr/listen 10\.0\.0\.7:3478\/udp;.*protocol udp;.*monitor icmp.*snat off;/s, "$what: UDP at layer 4 is transparent") or diag $turn;
	my $owa = block($conf, 'virtual-service OWA');
	like($owa, qr/^\tenabled off;/m, "$what: its certificate is in the appliance");
	like($owa, qr/protocol http \{.*persistence cookie \{.*name LBID;.*fallback source;.*monitor https \{.*path \/owa\/healthcheck\.htm;/s, "$what: requests, a cookie, a page")
		or diag $owa;
	like($owa, qr/idle-timeout 11m;/, "$what: the appliance's default of silence is written out");
	like($owa, qr/sorry-pool OWA-sorry;/, "$what: the standby");
	my $mail = block($conf, 'virtual-service vs-2001:db8::5-25');
	like($mail, qr/listen \[2001:db8::5\]:25;.*scheduler priority;.*expect 220;/s, "$what: mail") or diag $conf;
	like($mail, qr/^\tenabled off;/m, "$what: switched off there, here, too");
	for my $lost (qr/virtual service 1 "Lync FE SIP & more" \(10\.0\.0\.5:5061\): connections that servers open themselves/,
		qr/direct return/, qr/certificate owa2019/, qr/content rules \(NRules 2\)/,
		qr/ESP/, qr/a sub-service/, qr/scheduling dl has no equal/,
		qr/it has no servers, so there is no service vs-10\.0\.0\.9-80/) {
		like($report, $lost, "$what: reported: $lost");
	}
}
{
	my ($status, @rest) = import('loadmaster', $xml, 'lm');
	is($status, 0, 'LoadMaster, XML: carried over') or diag $rest[0];
	check_loadmaster('XML', @rest);
	# The same as JSON, as the second version of the API says it: numbers and switches have their types.
	my $json = '{"code": 200, "VS": [' . join(',', map {
		my $vs = $_;
		my @rs = $vs =~ /<Rs>(.*?)<\/Rs>/gs;
		$vs =~ s/<Rs>.*?<\/Rs>//gs;
		my $object = sub { join ',', map { my ($k, $v) = @$_; $v =~ s/&amp;/&/; "\"$k\":" . ($v eq 'Y' ? 'true' : $v eq 'N' ? 'false'
			: $v =~ /^\d+$/ && $k ne 'VSPort' ? $v : "\"$v\"") } map { [/^<(\w+)>(.*)/s] } grep { /^<\w+>/ } split /<\/\w+>\s*/, shift };
		'{' . $object->($vs) . ',"Rs":[' . join(',', map { '{' . $object->($_) . '}' } @rs) . ']}';
	} $xml =~ /<VS>(.*?)<\/VS>/gs) . '], "status": "ok"}';
	($status, @rest) = import('loadmaster', $json, 'lmj');
	is($status, 0, 'LoadMaster, JSON: carried over') or diag $rest[0];
	check_loadmaster('JSON', @rest);
	($status, @rest) = import('loadmaster', '<Response><Success><Data><Index>1</Index><VSAddress>10.0.0.1</VSAddress><VSPort>80</VSPort>'
		. '<Rs><Addr>10.0.0.2</Addr></Rs></Data></Success></Response>', 'one');
	is($status, 0, 'one service alone, as showvs answers');
	like($rest[2], qr/server 10\.0\.0\.2 10\.0\.0\.2/, 'with its server');
}

# What the appliance has besides; what is no address goes nowhere; many services of one name.
{
	my $vs = sub { my $rs = '<Rs><Addr>10.0.0.2</Addr><Port>80</Port></Rs>'; "<VS><Protocol>tcp</Protocol>$_[0]" . ($_[1] // $rs) . '</VS>' };
	my ($status, $said, $report, $conf) = import('loadmaster', '<Response><Success><Data>'
		. $vs->('<Index>1</Index><VSAddress>10.0.0.5</VSAddress><VSPort>5061</VSPort><NickName>SIP - FE</NickName><AltAddress>10.0.0.6</AltAddress>'
			. '<VStype>gen</VStype><AddVia>0</AddVia><ExtraPorts>444;5065-5069</ExtraPorts><ChkInterval>9</ChkInterval><ChkTimeout>4</ChkTimeout>'
			. '<ChkRetryCount>2</ChkRetryCount><CheckType>tcp</CheckType><MaxConnsLimit>5000</MaxConnsLimit><DefaultGW>10.0.0.1</DefaultGW>'
			. '<LocalBindAddrs>10.0.0.7</LocalBindAddrs><AllowedHosts>10.0.0.0/8</AllowedHosts><ConnsPerSecLimit>9</ConnsPerSecLimit>')
		. $vs->('<Index>2</Index><VSAddress>10.0.0.5; } pool evil {</VSAddress><VSPort>99</VSPort><NickName>evil</NickName>', '<Rs><Addr>10.0.0.1; } x</Addr></Rs>')
		. $vs->('<Index>3</Index><VSAddress>10.0.0.9</VSAddress><VSPort>80</VSPort><NickName>../../passwd</NickName>')
		. join('', map { $vs->("<Index>$_</Index><VSAddress>10.0.1.$_</VSAddress><VSPort>80</VSPort><NickName>same</NickName>") } 10 .. 200)
		. '</Data></Success></Response>', 'lm2');
	is($status, 0, 'LoadMaster, of other habits: carried over') or diag $said;
	my $sip = block($conf, 'virtual-service SIP-FE');
	like($sip, qr/(?:listen 10\.0\.0\.5:\S+;\s+){3}(?:listen 10\.0\.0\.6:\S+;\s+){3}/, 'a second address, with all ports') or diag $conf;
	like($sip, qr/interval 9s;\s+timeout 4s;.*fall 2;/s, 'times of the check');
	like($sip, qr/max-connections 5000;/, 'a limit');
	unlike($report, qr/AddVia/, 'no header is missed where there can be none');
	like($report, $_, "reported: $_") for qr/gateway of its own \(DefaultGW 10\.0\.0\.1\)/, qr/snat ADDRESS.*10\.0\.0\.7/, qr/allow NETWORK.*10\.0\.0\.0\/8/,
		qr/new connections a second \(ConnsPerSecLimit 9\)/, qr/pool evil \{ is no address/, qr/server 10\.0\.0\.1; \} x: that is no address/;
	like($conf, qr/^virtual-service passwd /m, 'a name leads nowhere else, and hides nothing');
	is(scalar(() = $conf =~ /^virtual-service same(?:-\d+)? /mg), 191, 'and a hundred services of one name have names of their own');
}

# ---- what is no such file ----
for my $bad (['haproxy', "hello\n", qr/no frontend/], ['loadmaster', '<a><b></a>', qr/:1: an end tag/], ['loadmaster', '{"a": ', qr/bad\.in:/],
	['loadmaster', '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', qr/document types are not read/], ['loadmaster', '<a>&bomb;</a>', qr/entity/],
	['loadmaster', '<a/>', qr/no virtual services/], ['loadmaster', '<a>' x 100, qr/nested too deep/], ['loadmaster', '<a b="', qr/never ends/],
	['loadmaster', '', qr/bad\.in/], ['haproxy', "listen a\0b\n", qr/no text/], ['squid', '', qr/reads haproxy and loadmaster/]) {
	my ($status, $said) = import(@$bad[0, 1], 'bad');
	isnt($status, 0, "$bad->[0]: refused: " . substr $bad->[1], 0, 20);
	like($said, $bad->[2], 'in words');
	ok(!-e 'bad', 'and nothing is written');
}
is(system(Steelyard::steelyardctl() . ' import haproxy /nowhere/at/all 2>/dev/null') >> 8, 1, 'a file that is not there');
done_testing;
