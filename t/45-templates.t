#!/usr/bin/env perl
# Ready-made templates carry traffic, on every port that they open: Mediation, gateways, XMPP, a web farm, and
# Lync 2010's external web services with their cookie. A server that dies is replaced by the other one.
# (Front Ends and Edges: t/45-farm.t; SIP and TURN: t/45-templates-media.t.)
use strict;
use warnings;
use lib ($ENV{STEELYARD_SRC} || '.') . '/t/lib';
use Certificates;
use Farm;
use File::Temp qw(tempdir);
use IO::Socket::SSL;
use Sip ();
use Steelyard;
use Test::More;
use Turn ();
use Way qw(dial);

plan skip_all => 'needs root for the ports of the services' if $> != 0;
my $nginx = (grep { -x } '/usr/sbin/nginx', '/usr/local/sbin/nginx')[0];
plan skip_all => 'needs nginx and curl' if !$nginx || system('command -v curl >/dev/null 2>&1');

my $dir = tempdir('steelyard-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $certs = Certificates->new;
$certs->authority('ca');
my @names = qw(pool.lab.test web.lab.test lyncdiscover.lab.test meet.lab.test dialin.lab.test);
$certs->issue('server', ca => 'ca', chain => ['ca'], names => \@names);
chmod 0644, $certs->path($_) for qw(server.key server.crt server.pem ca.crt);
my ($crt, $key, $pem, $ca) = map { $certs->path($_) } qw(server.crt server.key server.pem ca.crt);

# What runs: name => something with kill. Two of each kind, each with an address of its own.
my (%run, %host);
$host{$_} = Turn::host() for map { ("${_}1", "${_}2") } qw(m g x web fe);
my %vip = map { $_ => Turn::host() } qw(mediation gateways xmpp web fe rules);
sub servers { my $kind = shift; join ' ', map { "server $kind$_ $host{qq{$kind$_}};" } 1, 2 }

# Lines over TCP, and over TLS.
sub lines {
	my ($name, $tls, @ports) = @_;
	for my $port (@ports) {
		push @{ $run{$name} }, Steelyard->server($name, address => $host{$name}, port => $port, greet => 1);
	}
	for my $port (@$tls) {
		push @{ $run{$name} }, Steelyard->server($name, address => $host{$name}, port => $port, each => sub {
			my $sock = IO::Socket::SSL->start_SSL(shift, SSL_server => 1, SSL_cert_file => $crt, SSL_key_file => $key) or return;
			print $sock "hello $name\n";
			while (defined(my $line = <$sock>)) { print $sock "$name: $line" }
		});
	}
}
for my $n (1, 2) {
	lines("m$n", [5067], 5070, 5068);
	lines("g$n", [5082], 5081);
	lines("x$n", [], 5269);
	for my $kind ('web', 'fe') {
		my ($name, $host) = ("$kind$n", $host{"$kind$n"});
		my @ports = $kind eq 'web' ? (80, '443 ssl') : (80, '443 ssl', 8080, '4443 ssl', 5061, 7001, 7002);
		my $listen = join '', map { "listen $host:$_; " } @ports;
		mkdir "$dir/$name";
		open my $out, '>', "$dir/$name/nginx.conf" or die $!;
		print $out <<"NGINX";
daemon off; worker_processes 1; pid $dir/$name/nginx.pid; error_log $dir/$name/log; user root;
events { worker_connections 256; }
http { access_log off; client_body_temp_path $dir/$name; proxy_temp_path $dir/$name; fastcgi_temp_path $dir/$name;
uwsgi_temp_path $dir/$name; scgi_temp_path $dir/$name;
server { $listen ssl_certificate $pem; ssl_certificate_key $key;
location = /broken { return 500 "broken\\n"; }
location / { return 200 "$name \$server_port \$http_host\\n"; } } }
NGINX
		close $out;
		push @{ $run{$name} }, Sip::run("$dir/$name/said", $nginx, '-p', "$dir/$name", '-c', "$dir/$name/nginx.conf");
		Steelyard::wait_for("nginx $name", sub { IO::Socket::INET->new(PeerAddr => $host, PeerPort => 80) });
	}
}
# An end that nobody can miss; a program that makes processes of its own goes with all of them.
sub stop { my $name = shift; for my $r (@{ delete $run{$name} }) { $r->can('kill') ? $r->kill : $r->end } }

my $quick = 'check-interval 1s; slow-start 0;';
my $sy = Steelyard->start(<<"CONF");
include @{[ Steelyard::src_dir() ]}/conf.d/templates/*.conf;
deploy lync-mediation { virtual-address $vip{mediation}; mediation-servers { @{[ servers('m') ]} } $quick }
deploy lync-gateways { virtual-address $vip{gateways}; gateways { @{[ servers('g') ]} } $quick }
pool xmpp-gateways { @{[ servers('x') ]} }
deploy lync-xmpp { access-address $vip{xmpp}; access-edges-pool xmpp-gateways; check-interval 1s; }
deploy web-farm { virtual-address $vip{web}; web-servers { @{[ servers('web') ]} } $quick }
deploy lync-fe-web-dnslb {
	internal-address $vip{fe}; front-ends { @{[ servers('fe') ]} } version 2010; $quick
	external-certificate $pem; external-key $key; web-names web.lab.test; pool-name pool.lab.test; ca $ca;
}
# Two pools of the same servers: what a monitor asks counts for its pool alone.
pool plain { server fe1 $host{fe1}; server fe2 $host{fe2}; port 7001; }
pool picky { server fe1 $host{fe1}; server fe2 $host{fe2}; port 7002; }
virtual-service rules {
	listen $vip{rules}:80; pool plain;
	protocol http { rule { path /picky; pool picky; } }
	monitor tcp { pools plain; interval 1s; fall 1; rise 1; }
	monitor http { pools picky; path /; contains "fe1 "; interval 1s; fall 1; rise 1; }
}
CONF
Farm::wait_all_up($sy, 'rules fe2 picky');

# The name of the server behind a port, by a line said and heard.
sub behind {
	my ($vip, $port, $tls, $from) = @_;
	my $sock = $tls ? IO::Socket::SSL->new(PeerAddr => $vip, PeerPort => $port, SSL_verify_mode => 0) : dial($port, address => $vip);
	$sock or return 'nobody';
	print $sock "hear me\n";
	$sock->flush;
	local $SIG{ALRM} = sub { die "late\n" };
	alarm 30;
	my $said = eval { scalar <$sock>; scalar <$sock> };
	alarm 0;
	return ($said // '') =~ /^(\w+): hear me/ ? $1 : 'nothing';
}
for my $case (['mediation', 'm', [5070], [5068], [5067, 1]], ['gateways', 'g', [5081], [5082, 1]], ['xmpp', 'x', [5269]]) {
	my ($what, $kind, @ports) = @$case;
	Farm::replaced($what, $kind, sub { behind($vip{$what}, @_) }, \&stop, @ports);
}

# ---- the web ----
# (status, server, port, host that it saw, cookie)
sub web {
	my ($vip, $port, %opt) = @_;
	my $scheme = $port =~ /443/ ? 'https' : 'http';
	my @cookie = $opt{cookie} ? ('-b', "MS-WSMAN=$opt{cookie}") : ();
	my $path = $opt{path} // '/';
	open my $out, '-|', 'curl', '-s', '-i', '--max-time', 20, '--noproxy', '*', '--cacert', $ca, @cookie,
		'--connect-to', "web.lab.test:$port:$vip:$port", "$scheme://web.lab.test:$port$path" or die $!;
	local $/;
	my $said = <$out> // '';
	close $out;
	my ($status) = $said =~ m{^HTTP\S+ (\d+)};
	my ($server, $seen, $host) = $said =~ /^((?:web|fe)\d) (\d+) (\S+)$/m;
	my ($cookie) = $said =~ /^set-cookie:\s*MS-WSMAN=([^;\r\n]+)/im;
	return { status => $status // 0, server => $server // 'nobody', port => $seen // 0, host => $host // '', cookie => $cookie,
		line => scalar(($said =~ /^(set-cookie:.*?)\r?$/im)[0]) };
}
Farm::replaced('web farm', 'web', sub { web($vip{web}, $_[0])->{server} }, \&stop, [80], [443]);

# Lync 2010: 443 and 80 as they are, by address; 4443 and 8080 with the cookie.
is(web($vip{fe}, $_)->{port}, $_, "web services: $_ comes to $_") for 80, 443, 4443, 8080;
my %cookie;
for (1 .. 40) {
	my $got = web($vip{fe}, 4443);
	$cookie{ $got->{server} } = $got->{cookie};
	like($got->{line}, qr/^set-cookie: MS-WSMAN=[^;]+(?:; path=\/)?(?:; secure)?$/i, 'MS-WSMAN, without an end, for scripts too') unless keys %cookie > 1 || $_ > 1;
	last if keys %cookie == 2;
}
is_deeply([sort keys %cookie], ['fe1', 'fe2'], '4443: clients of one address are spread over both');
for my $server (sort keys %cookie) {
	is_deeply([map { web($vip{fe}, 4443, cookie => $cookie{$server})->{server} } 1 .. 4], [($server) x 4], "4443: the cookie keeps a client with $server");
}
my $got = web($vip{fe}, 4443, cookie => $cookie{fe1});
is($got->{host}, 'web.lab.test:4443', 'Host is passed on as it came');
is($got->{cookie}, undef, 'who has the cookie gets no other');

# ---- monitors of one pool ----
my %state = map { ("$_->{pool} $_->{name}" => $_->{state}) } map { @{ $_->{servers} } } grep { $_->{name} eq 'rules' } @{ $sy->api('GET', '/v1/services')->{services} };
is_deeply(\%state, { 'plain fe1' => 'up', 'plain fe2' => 'up', 'picky fe1' => 'up', 'picky fe2' => 'down' },
	'what a monitor says of a server counts in the pools that it is for');
is_deeply([sort { $a cmp $b } keys %{ { map { web($vip{rules}, 80)->{server} => 1 } 1 .. 12 } }], ['fe1', 'fe2'], 'so both serve the one pool');
is_deeply([sort { $a cmp $b } keys %{ { map { web($vip{rules}, 80, path => '/picky')->{server} => 1 } 1 .. 12 } }], ['fe1'], 'and one the other');

stop('fe1');
$sy->wait_down('fe-web-external-4443', 'fe1');
$got = web($vip{fe}, 4443, cookie => $cookie{fe1});
is($got->{server}, 'fe2', '4443: a server that died is replaced');
ok($got->{cookie} && $got->{cookie} ne $cookie{fe1}, 'and the client gets the cookie of the other');
is($sy->stop, 0, 'the end');
done_testing;
