#!/usr/bin/env perl
# The monitors http and https against nginx and OpenSSL's own server: certificates, names, versions,
# client certificates; pages whole, chunked and redirected; fields that arrive; patterns; and
# Exchange's health page as the manual shows it.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Certificates;
use Fcntl qw(F_SETFD);
use File::Temp qw(tempdir);
use IO::Socket::INET;
use Steelyard;

my ($nginx) = grep { -x } map { "$_/nginx" } split(/:/, $ENV{PATH}), '/usr/sbin';
BAIL_OUT('nginx is not there (contrib/packages)') unless $nginx;

my $certs = Certificates->new;
my $dir = tempdir('steelyard-https-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
my $at = $certs->dir;
$certs->authority('ca');
$certs->authority('other');
$certs->issue('web', ca => 'ca', names => ['web.example.net', '127.0.0.1'], key => 'ec');
$certs->issue('old', ca => 'ca', names => ['old.example.net'], from => -20, to => -10, key => 'ec');
$certs->issue('probe', ca => 'ca', names => ['probe.example.net'], key => 'ec');

# nginx takes sockets that it inherits for those that its configuration names.
my %socket = map { $_ => IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1') || die $@ } qw(plain web mutual tls12 page);
my %port = map { $_ => $socket{$_}->sockport } keys %socket;
mkdir "$dir/www";
sub put { open my $out, '>', "$dir/$_[0]" or die $!; print $out $_[1]; close $out }
put('www/index.html', "all is well\n");
put('www/big.html', 'x' x 65531 . "nearly\n" . 'y' x 100000);
my $tls = "ssl_certificate $at/web.chain; ssl_certificate_key $at/web.key;";
put('nginx.conf', <<"CONF");
daemon off; worker_processes 1; pid $dir/pid; error_log $dir/error.log;
events { worker_connections 256; }
http {
	access_log $dir/access.log;
	client_body_temp_path $dir; proxy_temp_path $dir; fastcgi_temp_path $dir; uwsgi_temp_path $dir; scgi_temp_path $dir;
	root $dir/www;
	server { listen 127.0.0.1:$port{plain};
		location = /moved { return 302 /index.html; }
		location = /fields { return 200 "\$http_x_probe|\$http_user_agent|\$http_host|\$request_method"; }
		location = /chunked { proxy_pass http://127.0.0.1:$port{page}; proxy_http_version 1.1; proxy_buffering off; }
	}
	server { listen 127.0.0.1:$port{page};
		location / { sub_filter well fine; sub_filter_once off; try_files /index.html =404; }
	}
	server { listen 127.0.0.1:$port{web} ssl; server_name web.example.net; $tls
		location /owa/healthcheck.htm { default_type text/plain; return 200 "200 OK<br/>EX1.EXAMPLE.NET\\r\\n"; }
		location /ews/healthcheck.htm { return 503 "down for maintenance"; }
		location = /alpn { return 200 "\$ssl_alpn_protocol|\$ssl_server_name|\$ssl_protocol"; }
	}
	server { listen 127.0.0.1:$port{web} ssl; server_name old.example.net;
		ssl_certificate $at/old.chain; ssl_certificate_key $at/old.key;
		location / { return 200 old; }
	}
	server { listen 127.0.0.1:$port{mutual} ssl; $tls
		ssl_client_certificate $at/ca.crt; ssl_verify_client on;
		location / { return 200 "\$ssl_client_s_dn"; }
	}
	server { listen 127.0.0.1:$port{tls12} ssl; $tls ssl_protocols TLSv1.2; location / { return 200 "\$ssl_protocol"; } }
}
CONF
my $pid = fork // die $!;
if (!$pid) {
	fcntl $_, F_SETFD, 0 for values %socket;
	$ENV{NGINX} = join '', map { fileno($_) . ';' } values %socket;
	open STDERR, '>>', "$dir/error.log";
	exec $nginx, '-p', $dir, '-c', "$dir/nginx.conf", '-e', "$dir/error.log" or POSIX::_exit(127);
}
END {
	my $status = $?;
	if ($pid) {
		kill 'TERM', $pid;
		waitpid $pid, 0;
	}
	$? = $status;
}

my @table = (
	# port, monitor, state, why
	['plain', 'http { contains "all is well"; }', 'up', qr/status 200, the page contains/],
	['plain', 'http { match "^all\\sis\\s\\w+$"; }', 'up', qr/status 200, the page matches/],
	['plain', 'http { match "(?i)ALL IS LOST"; }', 'down', qr/the page does not match "\(\?i\)ALL IS LOST"/],
	['plain', 'http { path /chunked; match "^all is fine$"; }', 'up', qr/the page matches/],
	['plain', 'http { path /moved; }', 'up', qr/status 302/],
	['plain', 'http { path /moved; status 200; }', 'down', qr/status 302 (Found|Moved Temporarily)/],
	['plain', 'http { path /moved; status 300-399; match well; }', 'down', qr/status 302, but the page does not match "well"/],
	['plain', 'http { path /big.html; match nearl; }', 'up', qr/matches/],
	['plain', 'http { path /big.html; match nearly; }', 'down', qr/does not match/],
	['plain', 'http { path /big.html; match "(x+x+)+[z!]"; }', 'down', qr/matching "\(x\+x\+\)\+\[z!\]" takes too long/],
	['plain', 'http { path /fields; header X-Probe "a b"; header User-Agent me; host h.example; match "^a b\\|me\\|h.example\\|GET$"; }', 'up', qr/matches/],
	['plain', 'http { path /nowhere; }', 'down', qr/status 404 Not Found/],
	['plain', 'https', 'down', qr/TLS handshake failed: the server does not speak TLS/],
	['web', 'http', 'down', qr/status 400/],
	['web', 'https', 'up', qr/status 200/],
	['web', "https { verify on; ca $at/ca.crt; name web.example.net; }", 'up', qr/status 200/],
	['web', "https { verify on; ca $at/ca.crt; host web.example.net:8443; }", 'up', qr/status 200/],
	['web', "https { verify on; ca $at/ca.crt; host 127.0.0.1; }", 'up', qr/status 200/],
	['web', "https { verify on; ca $at/ca.crt; host 127.0.0.2; }", 'down', qr/does not hold the name 127\.0\.0\.2/],
	['web', "https { verify on; ca $at/other.crt; name web.example.net; }", 'down', qr/the certificate is not trusted: unable to get/],
	['web', "https { verify on; ca $at/ca.crt; name lync.example.net; }", 'down', qr/does not hold the name lync\.example\.net/],
	['web', "https { verify on; ca $at/ca.crt; name old.example.net; }", 'down', qr/not trusted: certificate has expired/],
	['web', 'https { host old.example.net; match "^old$"; }', 'up', qr/matches/],
	['web', 'https { host web.example.net; path /alpn; match "^http/1.1\\|web.example.net\\|TLSv1.[23]$"; }', 'up', qr/matches/],
	['web', 'https { path /alpn; host web.example.net; versions TLSv1.2; match "TLSv1.2$"; }', 'up', qr/matches/],
	['tls12', 'https { match "^TLSv1.2$"; }', 'up', qr/matches/],
	['tls12', 'https { versions TLSv1.3; }', 'down', qr/TLS handshake failed: the server says: protocol version/],
	['mutual', 'https { status 200; }', 'down', qr/status 400|handshake failed/],
	['mutual', "https { certificate $at/probe.chain; key $at/probe.key; match CN=probe.example.net; }", 'up', qr/matches/],
	# Exchange, as in the manual
	['web', "https { host web.example.net; path /owa/healthcheck.htm; status 200; match '^200 OK'; verify on; ca $at/ca.crt; }", 'up', qr/status 200, the page matches/],
	['web', "https { host web.example.net; path /ews/healthcheck.htm; status 200; match '^200 OK'; }", 'down', qr/status 503 Service Temporarily Unavailable|status 503/],
);
my $conf = '';
for my $i (0 .. $#table) {
	my ($to, $monitor) = @{ $table[$i] };
	$monitor =~ s/^(https?)( \{)?/$1 . ($2 ? ' { interval 5s; fall 1; rise 1;' : ' { interval 5s; fall 1; rise 1; }')/e;
	$conf .= "pool p$i { server s 127.0.0.1:$port{$to}; }\nvirtual-service s$i { listen 127.0.0.1:0; pool p$i;\n\tmonitor $monitor\n}\n";
}
Steelyard::wait_for('nginx', sub { -s "$dir/pid" });
my $sy = Steelyard->start($conf, workers => 1);
for my $i (0 .. $#table) {
	my (undef, $monitor, $state, $why) = @{ $table[$i] };
	eval { $sy->wait_state("s$i", 's', $state); 1 } or diag $@;
	my $seat = $sy->seat("s$i", 's');
	is($seat->{state}, $state, "$monitor: $state");
	like($seat->{why}, $why, '  and the words are right');
}

# A reload gives compiled patterns back and compiles them anew; the checker stays well.
for my $turn (1 .. 3) {
	my ($ok, $text) = $sy->reload("$conf\n# turn $turn\nvirtual-service t$turn { listen 127.0.0.1:0; pool p0; monitor http { match a$turn; } }\n");
	ok($ok, "reload $turn") or diag $text;
}
$sy->wait_state('t3', 's', 'down');
is($sy->seat('s1', 's')->{state}, 'up', 'what did not change is still known');
is($sy->stop, 0, 'it ends well');
done_testing();
