#!/usr/bin/env perl
# TLS handshakes that fail say why in the log, whoever it was that refused; and a storm of them waits
# outside instead of taking all there is.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use IO::Select;
use IO::Socket::SSL;
use Steelyard;
use Way qw(dial say hear exchange mark line_of lines_since);

my $certs = Certificates->new;
$certs->authority('ca');
$certs->authority('other');
$certs->issue('web', ca => 'ca', names => ['web.example.net']);
$certs->issue('webec', ca => 'ca', key => 'ec', names => ['web.example.net']);
$certs->issue('client', ca => 'ca', names => ['client.example.net']);
$certs->issue('stranger', ca => 'other', names => ['stranger.example.net']);
$certs->issue('old', ca => 'ca', from => -20, to => -10, names => ['old.example.net']);
$certs->issue('soon', ca => 'ca', from => 10, to => 20, names => ['soon.example.net']);
$certs->issue('lost', ca => 'ca', names => ['lost.example.net']);
$certs->revoke('ca', 'lost');
my $dir = $certs->dir;
my $pair = "certificate $dir/web.crt; key $dir/web.key;";
my %tls = (
	web => $pair,
	ec => "certificate $dir/webec.crt; key $dir/webec.key;",
	modern => "$pair policy modern;",
	mutual => "$pair client-certificate required; ca $dir/ca.crt; crl $dir/ca.crl;",
	alpn => "$pair alpn h2;",
	strict => "$pair unknown-name refuse;",
	groups => "$pair groups X25519;",
);
my $s1 = Steelyard->server('s1');
my $pool = "pool p { server s1 127.0.0.1:@{[ $s1->port ]}; }\n";
my $sy = Steelyard->start($pool . join '', map { "virtual-service $_ { listen 127.0.0.1:0 { tls { $tls{$_} } } pool p; monitor off; }\n" } sort keys %tls);
my %port = map { $_ => $sy->port($_) } keys %tls;

sub openssl { my ($service, $args) = @_; return "openssl s_client -connect 127.0.0.1:$port{$service} $args </dev/null" }
sub gnutls { my ($service, $args) = @_; return "gnutls-cli -p $port{$service} $args 127.0.0.1 </dev/null" }
sub curl { my ($service, $args) = @_; return "curl -sS --resolve web.example.net:$port{$service}:127.0.0.1 $args //web.example.net:$port{$service}/" =~ s{ //}{ https://}r }
my $old = '-cipher ALL:@SECLEVEL=0';
my @with = map { my $who = $_; "-cert $dir/$who.crt -key $dir/$who.key" } qw(stranger old soon lost);
my @table = (
	# service, client, what the log says
	['web', openssl('web', "-tls1_1 $old"), qr/unsupported protocol; the client offers TLSv1\.1 (only|at most)/],
	['web', openssl('web', "-tls1 $old"), qr/unsupported protocol; the client offers TLSv1\.0 (only|at most)/],
	['modern', openssl('modern', '-tls1_2'), qr/unsupported protocol; the client offers TLSv1\.2 (only|at most)/],
	['modern', gnutls('modern', '--insecure --priority NORMAL:-VERS-ALL:+VERS-TLS1.2'), qr/unsupported protocol; the client offers TLSv1\.2/],
	['web', openssl('web', '-tls1_2 -cipher AES128-SHA'), qr/no shared cipher/],
	['ec', openssl('ec', '-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256'), qr/no shared cipher/],
	['ec', openssl('ec', '-tls1_3 -sigalgs RSA-PSS+SHA256'), qr/no suitable signature algorithm/],
	['groups', openssl('groups', '-tls1_3 -groups P-521'), qr/no suitable key share|no shared groups/],
	['alpn', openssl('alpn', '-alpn spdy/9'), qr/no application protocol/],
	['alpn', gnutls('alpn', '--insecure --alpn=sip'), qr/no application protocol/],
	['strict', openssl('strict', '-servername Other.example.net'), qr/the client asks for other\.example\.net, which no certificate holds \(unknown-name refuse\)/],
	['strict', gnutls('strict', '--insecure --sni-hostname=x.web.example.net'), qr/the client asks for x\.web\.example\.net, which no certificate holds/],
	['mutual', openssl('mutual', ''), qr/the client shows no certificate, and client-certificate is required/],
	['mutual', curl('mutual', "--cacert $dir/ca.crt"), qr/the client shows no certificate/],
	['mutual', openssl('mutual', $with[0]), qr/the client's certificate is refused: .*(issuer|self.signed).*CN=stranger/],
	['mutual', openssl('mutual', $with[1]), qr/the client's certificate is refused: certificate has expired.*CN=old/],
	['mutual', openssl('mutual', $with[2]), qr/the client's certificate is refused: certificate is not yet valid.*CN=soon/],
	['mutual', openssl('mutual', $with[3]), qr/the client's certificate is refused: certificate revoked.*CN=lost/],
	['web', curl('web', "--cacert $dir/other.crt"), qr/the client says: unknown ca/],
	['web', openssl('web', "-verify_return_error -verify_hostname elsewhere -CAfile $dir/ca.crt"), qr/the client says: /],
	['web', gnutls('web', "--x509cafile $dir/other.crt"), qr/the client (says: |closed|left)|client closed/],
	['web', "curl -sS http://127.0.0.1:$port{web}/", qr/the client speaks HTTP without TLS/],
	['web', "printf 'SSH-2.0-x\\r\\n' | nc -N 127.0.0.1 $port{web}", qr/the client does not speak TLS|wrong version|client closed/],
);
for my $row (@table) {
	my ($service, $command, $words) = @$row;
	mark($sy);
	my $said = `timeout 30 sh -c "$command" 2>&1`;
	my $line = Steelyard::wait_for("a line of $service", sub { (grep { /service=$service / } lines_since($sy))[-1] });
	like($line, $words, "$service: " . $command =~ s/\Q$dir\E\///gr =~ s/127\.0\.0\.1:\d+/.../gr) or diag $said;
}
subtest 'unknown-name' => sub {
	my $said = sub { my ($service, $name) = @_; `timeout 30 @{[ openssl($service, $name) ]} 2>&1` };
	like($said->('strict', '-servername other.example.net'), qr/unrecognized name/, 'refused with the alert');
	like($said->('strict', $_), qr/subject=.*web\.example\.net/, 'served') for '-servername web.example.net', '-servername WEB.example.net', '-noservername';
	like($said->('web', '-servername other.example.net'), qr/subject=.*web\.example\.net/, 'the first certificate by default');
};
is($sy->stop, 0, 'it ends well');

# ---- a storm ----

# What a client says first.
sub client_hello {
	my $ctx = Net::SSLeay::CTX_new() or die;
	my $ssl = Net::SSLeay::new($ctx);
	my ($in, $out) = map { Net::SSLeay::BIO_new(Net::SSLeay::BIO_s_mem()) } 1 .. 2;
	Net::SSLeay::set_bio($ssl, $in, $out);
	Net::SSLeay::set_connect_state($ssl);
	Net::SSLeay::do_handshake($ssl);
	return Net::SSLeay::BIO_read($out);
}

subtest 'worker-handshakes' => sub {
	my $storm = Steelyard->start("workers 1; worker-handshakes 8;\n$pool" . <<CONF);
virtual-service web { listen 127.0.0.1:0 { tls { $pair handshake-timeout 10m; } } pool p; monitor off; }
virtual-service plain { listen 127.0.0.1:0; pool p; monitor off; }
CONF
	my ($to, $plain) = map { $storm->port($_) } qw(web plain);
	my @silent = map { dial($to) } 1 .. 20;
	my $ssl = sub { IO::Socket::SSL->new(PeerAddr => '127.0.0.1', PeerPort => $to, SSL_verify_mode => SSL_VERIFY_NONE, Timeout => 60) };
	my $line = sub { my $conn = shift or return "no: $SSL_ERROR"; print $conn "hi\n"; scalar <$conn> };
	my $first = $ssl->();
	is($line->($first), "s1: hi\n", 'who is silent keeps nobody out');

	# One address takes all places, and takes each that is given back again.
	my $slow = dial($to, from => '127.0.0.3');
	my $hello = client_hello();
	say($slow, substr $hello, 0, 100);
	Steelyard::wait_for('it to be there', sub { grep { $_->{client} =~ /^127\.0\.0\.3:/ } @{ $storm->api('GET', '/v1/connections?service=web')->{connections} } });
	my $attacker = fork // die $!;
	if (!$attacker) {
		Steelyard::die_with_parent();
		my $select = IO::Select->new;
		while (1) {
			while ($select->count < 40) { my $sock = dial($to, from => '127.0.0.66'); say($sock, "\x16\3\1\1\0\1"); $select->add($sock) }
			$select->remove($_) for $select->can_read;
		}
	}
	$storm->wait_log(qr/accept: 8 TLS handshakes are under way, that is worker-handshakes; more must wait/);
	is(exchange($plain, 'hi'), 's1: hi', 'services without TLS take no notice') for 1 .. 5;
	is($line->($first), "s1: hi\n", 'nor do connections that are there');
	is($line->($ssl->()), "s1: hi\n", 'who comes gets a place') for 1 .. 3;
	like($storm->wait_log(qr/connection (client let .* end=tls-slow.*)/), qr/client let the TLS handshake wait, and others needed its place \(worker-handshakes 8\)/, 'from one that was slow');
	kill 'KILL', $attacker;
	waitpid $attacker, 0;
	say($slow, substr $hello, 100);
	like(hear($slow, qr/^\x16\x03\x03/), qr/^\x16\x03\x03..\x02/s, 'another address that was slow for longer keeps its place');
	is_deeply([grep { !/client=127\.0\.0\.66:/ } grep { /end=tls-slow/ } split /\n/, $storm->log_text], [], 'only those of the one address were ended');
	is($storm->stop, 0, 'it ends well');
};
done_testing;
