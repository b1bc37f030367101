#!/usr/bin/env perl
# The tls monitor against OpenSSL's own server: certificates good, old, foreign and misnamed; servers
# that demand a certificate of their clients; what the servers themselves see of a probe.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use File::Temp qw(tempdir);
use IO::Socket::INET;

my $dir = tempdir('steelyard-tls-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;

sub openssl {
	my $out = `cd $dir && openssl @_ 2>&1`;
	$? == 0 or BAIL_OUT("openssl @_: $out");
}

sub save {
	my ($name, $text) = @_;
	open my $out, '>', "$dir/$name" or die $!;
	print $out $text;
	close $out;
}

# A small authority: certificates with any dates.
save('ca.cnf', <<'CNF');
[ca]
default_ca = this
[this]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical,CA:TRUE
CNF
save('index.txt', '');
save('serial', "01\n");
for my $ca (qw(ca other)) {
	openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key -out $ca.pem"
		. " -subj '/CN=Test $ca' -days 3650 -config ca.cnf -extensions authority");
}

sub stamp {
	my @t = gmtime(time + 86400 * $_[0]);
	return sprintf '%04d%02d%02d%02d%02d%02dZ', $t[5] + 1900, $t[4] + 1, @t[3, 2, 1, 0];
}

sub certificate {
	my ($name, $from, $to, $host) = @_;
	openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name.key -out $name.csr"
		. " -subj '/CN=$host' -addext 'subjectAltName=DNS:$host,IP:127.0.0.1'");
	openssl("ca -batch -config ca.cnf -keyfile ca.key -cert ca.pem -in $name.csr -out $name.pem -notext"
		. ' -startdate ' . stamp($from) . ' -enddate ' . stamp($to));
}
certificate('good', -10, 400, 'web.example.net');
certificate('old', -400, -30, 'web.example.net');
certificate('soon', -400, 5.5, 'web.example.net');
certificate('client', -10, 400, 'lb.example.net');

# openssl s_server in a process of its own; its output is what the server sees.
my @servers;
sub s_server {
	my ($name, @args) = @_;
	my $log = "$dir/$name-" . @servers . '.log';
	my $pid = fork // die $!;
	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $log;
		open STDERR, '>&', \*STDOUT;
		chdir $dir;
		exec 'openssl', 's_server', '-accept', '127.0.0.1:0', '-cert', "$name.pem", '-key', "$name.key", @args;
	}
	push @servers, $pid;
	my $port = Steelyard::wait_for("s_server @args", sub {
		open my $in, '<', $log or return;
		local $/;
		my ($found) = (<$in> // '') =~ /ACCEPT 127\.0\.0\.1:(\d+)/;
		$found;
	});
	return { pid => $pid, port => $port, log => $log };
}
END {
	my $status = $?;
	kill 'KILL', @servers if @servers;
	waitpid $_, 0 for @servers;
	$? = $status;
}

sub seen {
	open my $in, '<', $_[0]{log} or return '';
	local $/;
	return <$in> // '';
}

my $good = s_server('good', '-www');
my $old = s_server('old', '-www');
my $soon = s_server('soon', '-www');
my $tls12 = s_server('good', '-www', '-tls1_2');
my $tls10 = s_server('good', '-www', '-tls1', '-cipher', 'ALL:@SECLEVEL=0');
my $asks12 = s_server('good', '-www', '-tls1_2', '-Verify', '1', '-verify_return_error', '-CAfile', 'ca.pem');
my $asks13 = s_server('good', '-www', '-tls1_3', '-Verify', '1', '-verify_return_error', '-CAfile', 'ca.pem');
my $sni = s_server('good', '-www', '-servername', 'other.example.net', '-cert2', 'old.pem', '-key2', 'old.key');

my @table = (
	# server, settings, state, why, what it is about
	[$good, '', 'up', qr/TLSv1\.3 handshake done/, 'a good server'],
	[$tls12, '', 'up', qr/TLSv1\.2 handshake done/, 'TLS 1.2'],
	[$tls10, '', 'up', qr/TLSv1 handshake done/, 'TLS 1.0, weak by today\'s standards'],
	[$good, 'verify on; ca ca.pem;', 'up', qr/handshake done/, 'verified'],
	[$good, 'verify on; ca ca.pem; name web.example.net;', 'up', qr/handshake done/, 'verified with its name'],
	[$good, 'verify on; ca ca.pem; name 127.0.0.1;', 'up', qr/handshake done/, 'verified with its address'],
	[$good, 'verify on; ca ca.pem; name lync.example.net;', 'down', qr/does not hold the name lync\.example\.net/, 'another name'],
	[$good, 'verify on; ca other.pem;', 'down', qr/not trusted: unable to get local issuer certificate/, 'another authority'],
	[$good, 'verify on;', 'down', qr/not trusted/, 'an authority that the system does not know'],
	[$old, '', 'up', qr/out of date since (29|30) days/, 'out of date, but nobody asks for verification'],
	[$old, 'fail-days 1;', 'down', qr/out of date since (29|30) days/, 'out of date'],
	[$old, 'verify on; ca ca.pem;', 'down', qr/not trusted: certificate has expired/, 'out of date and verified'],
	[$soon, '', 'up', qr/ends in 5 days/, 'ends soon: a warning'],
	[$soon, 'warn-days 3;', 'up', qr/handshake done/, 'ends soon, but that is fine'],
	[$soon, 'fail-days 7;', 'down', qr/ends in 5 days/, 'ends too soon'],
	[$asks12, '', 'up', qr/asks for a client certificate, so it is alive/, 'asks for a client certificate, TLS 1.2'],
	[$asks13, '', 'up', qr/TLSv1\.3 handshake done/, 'asks for a client certificate, TLS 1.3'],
	[$asks12, 'verify on; ca ca.pem; name web.example.net;', 'up', qr/so it is alive/, 'asks for one, and is verified'],
	[$asks12, 'verify on; ca other.pem;', 'down', qr/not trusted/, 'asks for one, and is not to be trusted'],
	[$asks12, 'certificate client.pem; key client.key;', 'up', qr/TLSv1\.2 handshake done/, 'gets a client certificate'],
	[$asks13, 'certificate client.pem; key client.key;', 'up', qr/TLSv1\.3 handshake done/, 'gets one, TLS 1.3'],
	[$sni, 'name other.example.net; fail-days 1;', 'down', qr/out of date/, 'the name is asked for (SNI)'],
	[$sni, 'name web.example.net; fail-days 1;', 'up', qr/handshake done/, 'another name gets the other certificate'],
);
my $conf = '';
for my $i (0 .. $#table) {
	my ($server, $settings) = @{ $table[$i] };
	$settings =~ s/(ca|certificate|key) (\w+\.\w+)/$1 $dir\/$2/g;
	$conf .= "pool p$i { server s 127.0.0.1:$server->{port}; }\n"
		. "virtual-service s$i { listen 127.0.0.1:0; pool p$i;\n\tmonitor tls { interval 2s; fall 1; rise 1; $settings } }\n";
}
my $sy = Steelyard->start($conf);
for my $i (0 .. $#table) {
	my ($server, undef, $state, $why, $about) = @{ $table[$i] };
	eval { $sy->wait_state("s$i", 's', $state); 1 } or diag $@;
	my $seat = $sy->seat("s$i", 's');
	is($seat->{state}, $state, "$about: $state");
	like($seat->{why}, $why, '  and the words are right');
}
like($sy->log_text, qr/warn checker: server s: tls 127\.0\.0\.1:$soon->{port}: handshake done; the certificate ends in 5 days/,
	'a certificate that ends soon is a warning in the log');
my $warnings = () = $sy->log_text =~ /$soon->{port}: handshake done; the certificate ends/g;
is($warnings, 1, 'once');
# What s_server says when a client breaks off or sends nonsense.
sleep 5; # some rounds more
for my $server ($good, $tls12, $tls10, $soon) {
	unlike(seen($server), qr/error|unexpected eof|reset/i, "the server on $server->{port} saw nothing wrong");
}

is($sy->stop, 0, 'it ends well');

subtest 'renewed without a restart' => sub {
	my $renew = s_server('soon', '-www');
	my $config = sub { "pool p { server s 127.0.0.1:$renew->{port}; }\n"
		. "virtual-service s { listen 127.0.0.1:0; pool p; monitor tls { interval 300ms; rise 1; fall 1; $_[0] } }\n" };
	my $sy = Steelyard->start($config->("verify on; ca $dir/other.pem;"));
	$sy->wait_down('s', 's');
	my ($ok, $text) = $sy->reload($config->("verify on; ca $dir/ca.pem;"));
	ok($ok, 'reload with the right authority') or diag $text;
	$sy->wait_up('s', 's');
	save('swap.pem', do { open my $in, '<', "$dir/other.pem"; local $/; <$in> });
	($ok, $text) = $sy->reload($config->("verify on; ca $dir/swap.pem;"));
	ok($ok, 'reload with another file') or diag $text;
	$sy->wait_down('s', 's');
	save('swap.pem', do { open my $in, '<', "$dir/ca.pem"; local $/; <$in> });
	($ok, $text) = $sy->reload;
	ok($ok, 'reload with other content in the same file') or diag $text;
	$sy->wait_up('s', 's');
	pass('and the content counts');
};

done_testing;
