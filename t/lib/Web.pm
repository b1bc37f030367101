# Web servers for tests: scripted ones, one that logs connections on with NTLM, and nginx.
package Web;
use strict;
use warnings;
use Digest::MD5;
use Exporter qw(import);
use File::Temp qw(tempdir);
use MIME::Base64 qw(decode_base64 encode_base64);
use Steelyard;
use Way ();

our @EXPORT_OK = qw(web ntlm curl nginx);

# One request after the other, over HTTP/1.1, in a process for each connection. The code gets the request
# ({ method, path, field, head, length, sum }: the body's), what it wants to keep with the connection
# ({ peer, n }), and the socket; it gives status, fields and body.
sub web {
	my ($name, $code) = @_;
	return Steelyard->server($name, each => sub {
		my $sock = shift;
		my $state = { peer => $sock->peerport, n => 0 };
		my $in = '';
		while (1) {
			until ($in =~ /\r\n\r\n/) { sysread($sock, $in, 65536, length $in) or return }
			$in =~ s/^(.*?\r\n)\r\n//s;
			my $head = $1;
			my ($method, $path) = $head =~ /^(\S+) (\S+)/;
			my %field = map { lc($_->[0]) => $_->[1] } map { [/^([^:]+):\s*(.*)$/] } split /\r\n/, $head =~ s/^.*?\r\n//r;
			my $request = { method => $method, path => $path, field => \%field, head => $head };
			syswrite $sock, "HTTP/1.1 100 Continue\r\n\r\n" if ($field{expect} // '') =~ /100/;
			my $sum = Digest::MD5->new;
			my $left = $field{'content-length'} // 0;
			my $length = 0;
			if (($field{'transfer-encoding'} // '') eq 'chunked') {
				while (1) {
					until ($in =~ /\r\n/) { sysread($sock, $in, 65536, length $in) or return }
					$in =~ s/^([0-9a-f]+)[^\r]*\r\n//i or return;
					my $size = hex $1;
					while (length $in < $size + 2) { sysread($sock, $in, 65536, length $in) or return }
					$sum->add(substr $in, 0, $size, '');
					substr $in, 0, 2, '';
					$length += $size;
					last unless $size;
				}
			}
			while ($left > 0) {
				sysread($sock, $in, 1 << 20) or return unless length $in;
				my $piece = substr $in, 0, $left, '';
				$sum->add($piece);
				$left -= length $piece;
				$length += length $piece;
			}
			$request->{sum} = $sum->hexdigest;
			$request->{length} = $length;
			$state->{n}++;
			my ($status, $fields, $body) = $code->($request, $state, $sock);
			return unless $status;
			$body //= '';
			$fields .= "Content-Length: " . length($body) . "\r\n" unless $fields =~ /content-length/i;
			Way::say($sock, "HTTP/1.1 $status\r\n$fields\r\n" . ($method eq 'HEAD' ? '' : $body));
			return if $fields =~ /connection: close/i;
		}
	});
}

# Logs a connection on (MS-NLMP, MS-NTHT): type 1, challenge, type 3 with the name of the user. From then on,
# each request over it is this user's, whoever sent it; X-User tells who did. /in wants a user. The answer is
# "well USER", or "MIXED" when a request came over the connection of somebody else.
sub ntlm {
	return web('ntlm', sub {
		my ($request, $state) = @_;
		my ($scheme, $token) = ($request->{field}{authorization} // '') =~ /^(NTLM) (\S+)/;
		if ($scheme) {
			my $message = decode_base64($token);
			my $type = unpack 'V', substr $message, 8, 4;
			if ($type == 1) {
				delete $state->{user};
				my $challenge = "NTLMSSP\0" . pack('V v v V V', 2, 0, 0, 56, 0x00008201) . 'challeng' . ("\0" x 8) .
					pack('v v V', 4, 4, 56) . ("\0" x 8) . pack('v v', 0, 0);
				return ('401 Unauthorized', 'WWW-Authenticate: NTLM ' . encode_base64($challenge, '') . "\r\n", 'more');
			}
			my ($len, undef, $at) = unpack 'v v V', substr $message, 36, 8;
			$state->{user} = substr($message, $at, $len) =~ s/\0//gr;
		}
		return ('401 Unauthorized', "WWW-Authenticate: NTLM\r\n", 'who?') if $request->{path} eq '/in' && !$state->{user};
		my $own = $state->{user} // 'nobody';
		my $claims = $request->{field}{'x-user'} // 'nobody';
		return ('200 OK', '', $own eq $claims ? "well $own\n" : "MIXED $claims over the connection of $own\n");
	});
}

# What it says; (that, its exit status) in list context.
sub curl {
	my $pid = open my $out, '-|';
	die $! unless defined $pid;
	if (!$pid) {
		open STDERR, '>&', \*STDOUT;
		exec 'curl', '-sS', '--max-time', 100, @_ or POSIX::_exit(127);
	}
	local $/;
	my $text = <$out> // '';
	close $out;
	return wantarray ? ($text, $? >> 8) : $text;
}

# nginx with the text of a server's block (HERE is its folder), on an address that is given in it; `wrap`: a
# command before it; `ready`: code that tells when it serves. undef: it is not installed. Ends with the object.
sub nginx {
	my ($server, %opt) = @_;
	my $nginx = (grep { -x } '/usr/sbin/nginx', '/usr/local/sbin/nginx')[0] or return undef;
	my $dir = tempdir('nginx-XXXXXX', TMPDIR => 1, CLEANUP => 1);
	chmod 0755, $dir;
	$server =~ s/HERE/$dir/g;
	open my $conf, '>', "$dir/nginx.conf" or die $!;
	print $conf <<"CONF";
daemon off; worker_processes 1; pid $dir/nginx.pid; error_log $dir/nginx.log;
events { worker_connections 4096; }
http { access_log off; client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/f;
uwsgi_temp_path $dir/u; scgi_temp_path $dir/s; sendfile on; keepalive_requests 1000000;
$server }
CONF
	close $conf;
	my $pid = fork // die $!;
	if (!$pid) {
		Steelyard::die_with_parent();
		open STDERR, '>', '/dev/null';
		exec @{ $opt{wrap} || [] }, $nginx, '-p', $dir, '-c', "$dir/nginx.conf" or POSIX::_exit(127);
	}
	my $self = bless { pid => $pid, dir => $dir, owner => $$ }, 'Web::Nginx';
	eval { Steelyard::wait_for('nginx', $opt{ready}) } or return undef if $opt{ready};
	return $self;
}

package Web::Nginx;

sub dir { $_[0]{dir} }

sub DESTROY {
	my $self = shift;
	return unless $self->{owner} == $$;
	local ($?, $@, $!);
	kill 'TERM', $self->{pid};
	waitpid $self->{pid}, 0;
}

1;
