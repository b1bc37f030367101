#!/usr/bin/env perl
# The web templates with traffic, in network namespaces: the reverse proxy (443 to 4443, 80 to 8080, by host
# name), Office Web Apps and Exchange, with nginx as the servers and curl outside. Certificates and names are
# those of a farm, and each is verified; what is broken leaves alone.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Farm;
use Steelyard;
use Web qw(nginx);

plan skip_all => 'needs root for network namespaces' if $> != 0;
my $net = eval { Farm::Net->new(qw(lb s1 s2 outside)) } or plan skip_all => "needs network namespaces: $@";
$net->bridge('lb', 'in', '10.89.1.1/24');
$net->bridge('lb', 'out', map { "203.0.113.$_/24" } 1, 10, 20, 30);
$net->cable("s$_", 'lb', 'in', undef, map { "10.89.1.$_/24" } "1$_", "2$_", "3$_") for 1, 2;
$net->cable('outside', 'lb', 'out', '203.0.113.1', '203.0.113.200/24');

my @web = map { "$_.example.net" } qw(webext lyncdiscover meet dialin);
my $certs = Certificates->new;
$certs->authority($_) for qw(public own);
$certs->issue('web', ca => 'public', key => 'ec', names => [@web, 'office.example.net']);
$certs->issue('office', ca => 'public', key => 'ec', names => ['office.example.net']);
$certs->issue('mail', ca => 'public', key => 'ec', names => ['mail.example.net', 'autodiscover.example.net']);
$certs->issue('fe', ca => 'own', names => ['fepool.example.net', 'webext.example.net']);
$certs->issue('oos', ca => 'own', key => 'ec', names => ['office.example.net']);
$certs->issue('exchange', ca => 'own', key => 'ec', names => ['mail.example.net', 'exchange.example.net']);
my %path = map { $_ => $certs->path("$_.pem") } qw(web office mail fe oos exchange);
my ($public, $own) = map { $certs->path("$_.crt") } qw(public own);

# ---- servers ----

my @applications = qw(owa ecp ews mapi rpc oab autodiscover Microsoft-Server-ActiveSync);
sub site {
	my ($listen, $pem, $says, $pages) = @_;
	my $tls = $pem ? "ssl_certificate $pem; ssl_certificate_key $pem;" : '';
	return "server { listen $listen" . ($pem ? ' ssl' : '') . "; server_name _; $tls default_type text/html;
		location / { return 200 \"$says \$http_host \$uri \$http_x_forwarded_proto\\n\"; }
		location ~ ^/(.*healthcheck\\.htm|hosting/discovery)\$ { root HERE; } }\n";
}
my %nginx = map {
	my ($n, $name) = ($_, "s$_");
	my ($fe, $oos, $exchange) = map { "10.89.1.$_$n" } 1 .. 3;
	my $server = nginx(join('', site("$fe:443", $path{fe}, "fe$n inside"), site("$fe:4443", $path{fe}, "fe$n outside"), site("$fe:80", '', "fe$n inside"),
		site("$fe:8080", '', "fe$n outside"), site("$oos:443", $path{oos}, "oos$n office"), site("$exchange:443", $path{exchange}, "ex$n mail")),
		wrap => [$net->in($name)]) or plan skip_all => 'nginx is not installed';
	my $dir = $server->dir;
	for my $folder ('hosting', @applications) {
		mkdir "$dir/$folder" or die $!;
		open my $out, '>', $folder eq 'hosting' ? "$dir/hosting/discovery" : "$dir/$folder/healthcheck.htm" or die $!;
		print $out $folder eq 'hosting' ? "<wopi-discovery></wopi-discovery>\n" : "200 OK<br/>ex$n.example.net\n";
		close $out;
	}
	($n => $server);
} 1, 2;
my %sip = map { $_ => nginx("server { listen 10.89.1.1$_:5061; }", wrap => [$net->in("s$_")]) } 1, 2;

# ---- the balancer ----

my $templates = Steelyard::src_dir() . '/conf.d/templates';
my $quick = 'check-interval 1s; slow-start 0;';
sub servers { my ($name, $third) = @_; return join ' ', map { "server $name$_ 10.89.1.$third$_;" } 1, 2 }
my $sy = Steelyard->start(<<"CONF", wrap => [$net->in('lb')]);
include $templates/*.conf;
workers 2;
deploy lync-reverse-proxy {
	virtual-address 203.0.113.10; front-ends { @{[ servers('fe', 1) ]} } certificate $path{web}; web-names @web;
	pool-name fepool.example.net; ca $own; office-web-apps { @{[ servers('oos', 2) ]} } office-web-name office.example.net; $quick
}
deploy office-web-apps {
	virtual-address 203.0.113.20; office-web-apps { @{[ servers('oos', 2) ]} } certificate $path{office}; farm-name office.example.net; ca $own; $quick
}
deploy exchange {
	virtual-address 203.0.113.30; exchange-servers { @{[ servers('ex', 3) ]} } certificate $path{mail}; client-name mail.example.net; ca $own;
	mail-ports 25; $quick
}
CONF

sub curl {
	my ($address, $url, @more) = @_;
	my ($scheme, $host) = $url =~ m{^(https?)://([^/]+)};
	open my $out, '-|', $net->in('outside'), 'curl', '-sS', '--max-time', 60, '--cacert', $public, '--resolve', "$host:" . ($scheme eq 'https' ? 443 : 80) . ":$address",
		@more, $url or die $!;
	local $/;
	return <$out> // '';
}
# { server => state } of a service's pool.
sub states {
	my ($service, $pool) = @_;
	my ($found) = grep { $_->{name} eq $service } @{ $sy->api('GET', '/v1/services')->{services} };
	return { map { $_->{name} => $_->{state} } grep { $_->{pool} eq $pool } @{ $found->{servers} } };
}
sub wait_states {
	my ($service, $pool, %wanted) = @_;
	return Steelyard::wait_for("$service: " . join(' ', %wanted), sub { my $is = states($service, $pool); !grep { ($is->{$_} // '') ne $wanted{$_} } keys %wanted });
}
my %both = map { my $name = $_; ($name => [map { ("$name$_" => 'up') } 1, 2]) } qw(fe oos ex);
wait_states(@$_) for ['rp-443', 'rp-tls-servers', @{ $both{fe} }], ['rp-443', 'rp-office-web', @{ $both{oos} }], ['rp-80', 'rp-servers', @{ $both{fe} }],
	['office-web-443', 'office-web-servers', @{ $both{oos} }], map { ['exchange-443', "exchange-$_", @{ $both{ex} }] } 'all', @applications;

subtest 'reverse proxy' => sub {
	my $rp = '203.0.113.10';
	like(curl($rp, "https://$_/x"), qr{^fe[12] outside $_ /x https\n\z}, "443 leads to 4443, and $_ is kept") for @web;
	like(curl($rp, "http://$_/x"), qr{^fe[12] outside $_ /x http\n\z}, "80 leads to 8080: $_") for @web;
	like(curl($rp, 'https://office.example.net/x'), qr{^oos[12] office office\.example\.net /x https\n\z}, 'Office Web Apps, by its name, to 443');
	my @code = ('-o', '/dev/null', '-w', '%{http_code}');
	is(curl($rp, 'https://webext.example.net/', '-H', 'Host: pool.internal.example.net', @code), '403', 'a host that is none of ours');
	is(curl($rp, 'http://elsewhere.example.net/', @code), '403', 'the same over HTTP');
	my $heads = curl($rp, 'https://meet.example.net/', '-D', '-');
	my ($cookie) = $heads =~ /^set-cookie: (MS-WSMAN=[^;\r]+)/mi;
	ok($cookie, 'MS-WSMAN is set') or diag $heads;
	unlike($heads, qr/^set-cookie:.*(?:expires|max-age|httponly)/mi, 'for the session, and not HttpOnly');
	my ($server) = $heads =~ /^(fe\d) /m;
	is(scalar(grep { /^$server / } map { split /\n/, curl($rp, "https://$_/[1-4]", '-H', "Cookie: $cookie") } @web[0, 2]), 8, 'who brings it stays with the server');
	delete $sip{ substr $server, 2 };
	wait_states('rp-443', 'rp-tls-servers', $server => 'down');
	my $other = $server eq 'fe1' ? 'fe2' : 'fe1';
	like(curl($rp, 'https://meet.example.net/', '-H', "Cookie: $cookie"), qr/^$other /, 'a server whose SIP is stopped gets nobody, though its web answers');
	is(states('rp-443', 'rp-tls-servers')->{$other}, 'up', 'the other one does');
};

subtest 'office web apps' => sub {
	my $oos = '203.0.113.20';
	my $heads = curl($oos, 'https://office.example.net/p', '-D', '-');
	my ($cookie) = $heads =~ /^set-cookie: ([^;\r]+)/mi;
	my ($n) = $heads =~ /^oos(\d) /m;
	is(scalar(grep { /^oos$n / } split /\n/, curl($oos, "https://office.example.net/[1-6]", '-H', "Cookie: $cookie")), 6, 'a client stays with its server');
	unlink $nginx{$n}->dir . '/hosting/discovery' or die $!;
	wait_states('office-web-443', 'office-web-servers', "oos$n" => 'down');
	my $other = 3 - $n;
	like(curl($oos, 'https://office.example.net/p', '-H', "Cookie: $cookie"), qr/^oos$other /, 'until that cannot open anything any more');
};

subtest 'exchange' => sub {
	my $mail = '203.0.113.30';
	my $who = sub { my ($folder) = @_; my %n = map { substr($_, 0, 3) => 1 } split /\n/, curl($mail, "https://mail.example.net/$folder/x?[1-8]"); return join ' ', sort keys %n };
	is($who->($_), 'ex1 ex2', "$_: both servers") for qw(owa EWS Microsoft-Server-ActiveSync elsewhere);
	like(curl($mail, 'https://autodiscover.example.net/Autodiscover/x'), qr{^ex\d mail autodiscover\.example\.net /Autodiscover/x https}, 'by the other name');
	my $break = sub { my ($n, $folder) = @_; unlink $nginx{$n}->dir . "/$folder/healthcheck.htm" or die $! };
	my $down = sub { my %down; for my $folder ('all', @applications) { my $is = states('exchange-443', "exchange-$folder"); $down{$folder} = join ' ', grep { $is->{$_} ne 'up' } sort keys %$is } return \%down };
	$break->(1, 'owa');
	wait_states('exchange-443', 'exchange-owa', ex1 => 'down', ex2 => 'up');
	is_deeply($down->(), { 'all' => '', map { $_ => $_ eq 'owa' ? 'ex1' : '' } @applications }, 'one application is unwell on one server, and is down there alone');
	is($who->('owa'), 'ex2', 'its requests go to the other server');
	is($who->('ews'), 'ex1 ex2', 'those of others to both');
	# Each of the others, on one server or the other.
	my %wanted = map { my $n = 1 + ($_ & 1); ($applications[$_] => "ex$n") } 0 .. $#applications;
	$break->($wanted{$_} =~ s/ex//r, $_) for grep { $_ ne 'owa' } @applications;
	wait_states('exchange-443', "exchange-$_", $wanted{$_} => 'down') for @applications;
	is_deeply($down->(), { 'all' => '', %wanted }, 'and so is each of them');
	is($who->($_), $wanted{$_} eq 'ex1' ? 'ex2' : 'ex1', "$_ goes to where it is well") for @applications;
};

my @lines = grep { / end=/ && / error / } split /\n/, $sy->log_text;
is("@lines", '', 'nothing else went wrong');
is($sy->stop, 0, 'it ends well');
done_testing;
