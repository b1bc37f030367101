#!/usr/bin/env perl
# The web page in a real browser: it loads, goes red when a server dies, is searched and filtered, lets
# those who have logged in drain a server, says nothing on the console, asks nobody else; axe-core
# finds nothing (contrib/check brings it with npm, when there is one). Screenshots for a person to look at are left in the
# build folder: t/page-*.png.
use strict;
use warnings;
use Test::More;
use lib "$ENV{STEELYARD_SRC}/t/lib";
use Steelyard;
use Browser;
use IO::Socket::INET;
use Time::HiRes qw(time sleep);

my $shots = "$ENV{STEELYARD_BUILD}/t";
plan skip_all => 'built with sanitizers: the browser looks at the ordinary build'
	if `grep -c 'define SANITIZERS' $ENV{STEELYARD_BUILD}/config.h` > 0;
my $browser = Browser->start or plan skip_all => 'chromium or chromedriver is not installed';

my @servers = map { Steelyard->server("fe$_") } 1 .. 3;
my $edge = Steelyard->server('edge1');
my $dir = File::Temp::tempdir('steelyard-page-XXXXXX', TMPDIR => 1, CLEANUP => 1);
chmod 0755, $dir;
system("echo 'correct horse' | @{[ Steelyard::steelyardctl() ]} passwd alice operate > $dir/users 2>$dir/said") == 0 or die 'no line for alice';
my $conf = "console { listen 127.0.0.1:0; users $dir/users; }\npool front-ends {\n"
	. join('', map { "\tserver fe$_ 127.0.0.1:" . $servers[$_ - 1]->port . ";\n" } 1 .. 3)
	. "}\npool edge { server edge1 127.0.0.1:" . $edge->port . "; server edge2 127.0.0.1:1; }\n";
my @names = qw(sip sip-tls web-internal conferencing response-group app-sharing);
for (@names, 'access-edge') {
	my $pool = /edge/ ? 'edge' : 'front-ends';
	$conf .= "virtual-service $_ {\n\tlisten 127.0.0.1:0 127.0.0.1:0 127.0.0.2:0;\n\tpool $pool;\n"
		. "\tscheduler least-connections;\n\tmonitor tcp { interval 200ms; rise 1; fall 1; }\n}\n";
}
my $sy = Steelyard->start($conf);
my $console = $sy->console_port;
for my $name (@names) {
	$sy->wait_up($name, "fe$_") for 1 .. 3;
}
$sy->wait_down('access-edge', 'edge2');
my @clients = map {
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('sip')) or die $@;
	print $sock "hello\n";
	my $line = <$sock>;
	$sock;
} 1 .. 7;

my $url = "http://127.0.0.1:$console/";
$browser->size(1280, 900);
$browser->requests; # those of the browser's own first page
$browser->go($url);
sub state_of { $browser->script('return document.querySelector(`tr[data-service="${arguments[0]}"]`)?.dataset.state', $_[0]) }
sub shown { $browser->script('return [...document.querySelectorAll("tr[data-service]")].map((row) => row.dataset.service)') }
sub show {
	my ($view, $ready) = @_;
	$browser->click("#tabs a[href='#$view']");
	$browser->wait_script("the view of $view", $ready);
}

# What axe-core finds on the page as it is.
my $axe_file = ($ENV{STEELYARD_NPM} // "$ENV{STEELYARD_BUILD}/npm") . "/node_modules/axe-core/axe.min.js";
my $axe = do { local (@ARGV, $/) = $axe_file; -e $axe_file ? <> : undef };
sub axe {
	my $what = shift;
	SKIP: {
		skip 'axe-core is not installed', 1 unless $axe;
		$browser->script("if (!window.axe) { $axe }");
		$browser->script('window.found = null; axe.run({ resultTypes: ["violations"] }).then((r) => { window.found = r.violations.map((v) =>'
			. ' `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`); })');
		$browser->wait_script("axe on $what", 'return window.found !== null');
		is_deeply($browser->script('return window.found'), [], "axe-core finds nothing in $what");
	}
}

subtest 'it loads' => sub {
	$browser->wait_script('all services', 'return document.querySelectorAll("tr[data-service]").length === 7');
	$browser->wait_script('the verdict', 'return document.querySelector("#verdict .badge")?.textContent.includes("degraded")');
	is(state_of('sip'), 'up', 'a service is up');
	is(shown()->[0], 'access-edge', 'the worst is first');
	like($browser->script('return document.title'), qr/^Services . Steelyard/, 'the title');
	$browser->wait_script('live', 'return document.getElementById("pulse").textContent.includes("live")');
	$browser->wait_script('its connections', 'return document.querySelector(`tr[data-service="sip"] td.n`).textContent === "7"');
	my $paint = $browser->script('return performance.getEntriesByName("first-contentful-paint")[0]?.startTime');
	diag sprintf 'first paint after %.0f ms', $paint // -1;
	my $word = $browser->script('return document.querySelector(`tr[data-service="sip"] .badge`).textContent');
	is($word, 'up', 'the state is a word');
	ok($browser->script('return !!document.querySelector(`tr[data-service="sip"] .badge svg path`)'), 'and a symbol');
};

subtest 'search, filter, sort' => sub {
	$browser->type('#search', 'web');
	$browser->wait_script('the search', 'return document.querySelectorAll("tr[data-service]").length === 1');
	is_deeply(shown(), ['web-internal'], 'by name');
	$browser->type('#search', 'edge2');
	$browser->wait_script('the search', 'return document.querySelector("tr[data-service]")?.dataset.service === "access-edge"');
	is_deeply(shown(), ['access-edge'], 'by a server');
	$browser->type('#search', 'nothing at all');
	$browser->wait_script('no row', 'return document.querySelectorAll("tr[data-service]").length === 0');
	like($browser->script('return document.querySelector("#main .note[role=status]").textContent'), qr/None of 7/, 'it says so');
	$browser->script('document.getElementById("search").value = ""; document.getElementById("search").dispatchEvent(new Event("input"))');
	$browser->wait_script('all again', 'return document.querySelectorAll("tr[data-service]").length === 7');
	$browser->click('#wrong');
	$browser->wait_script('only what is wrong', 'return document.querySelectorAll("tr[data-service]").length === 1');
	is_deeply(shown(), ['access-edge'], 'only what is wrong');
	$browser->click('#wrong');
	$browser->script('const s = document.getElementById("sort"); s.value = "name"; s.dispatchEvent(new Event("change"))');
	is_deeply(shown(), [ sort 'access-edge', @names ], 'sorted by name');
	$browser->script('const s = document.getElementById("sort"); s.value = "worst first"; s.dispatchEvent(new Event("change"))');
};

subtest 'a service opens' => sub {
	$browser->click('tr[data-service="sip"] .open');
	$browser->wait_script('its servers', 'return document.querySelectorAll(".seats tbody tr:not(.more)").length === 3');
	$browser->wait_script('its charts', 'return document.querySelectorAll(".detail .chart").length === 5');
	$browser->wait_script('the totals', 'return [...document.querySelectorAll(".seats td")].some((td) => /connected/.test(td.textContent))');
	like($browser->script('return document.querySelector(".detail .facts").textContent'), qr/steelyard\.conf:\d+/, 'file and line');
	$browser->click('.seats tbody tr:not(.more) .act button');
	$browser->wait_script('the commands', 'return document.querySelectorAll(".seats .commands code").length > 2');
	like($browser->script('return document.querySelector(".seats .commands code").textContent'),
		qr/^steelyardctl drain fe1 --service sip$/, 'the command for a drain');
	$browser->screenshot("$shots/page-service.png");
	is($browser->script('return document.querySelectorAll("main button.change").length'), 0, 'without a login there is nothing that changes anything');
	axe('an open service');
	$browser->click('tr[data-service="sip"] .open');
};

subtest 'logging in, and a drain by click' => sub {
	$browser->click('#login');
	$browser->wait_script('the form', 'return !!document.querySelector("form.login")');
	$browser->type('#user', 'alice');
	$browser->type('#password', 'wrong');
	$browser->click('form.login .primary');
	$browser->wait_script('the refusal', 'return /wrong name or password/.test(document.querySelector("form.login .problem").textContent)');
	$browser->type('#password', 'correct horse');
	$browser->screenshot("$shots/page-login.png");
	$browser->click('form.login .primary');
	$browser->wait_script('the name', 'return /alice/.test(document.getElementById("who").textContent)'
		. ' && document.querySelectorAll("tr[data-service]").length === 7');
	is($browser->script('return document.cookie'), '', 'scripts do not see the cookie');
	$browser->click('tr[data-service="sip"] .open');
	$browser->wait_script('the button', 'return document.querySelectorAll(".seats button.change").length === 3');
	$browser->click('.seats button.change');
	$browser->wait_script('what will happen', 'return /fe1 gets no new clients in sip/.test(document.querySelector("dialog .effect")?.textContent)');
	like($browser->script('return document.querySelector("dialog .effects").textContent'), qr/3 of 3 servers take new clients now, then 2/, 'in numbers');
	axe('the dialog');
	$browser->screenshot("$shots/page-change.png");
	$browser->script('const s = document.getElementById("where"); s.value = "1"; s.dispatchEvent(new Event("input", { bubbles: true }))');
	$browser->wait_script('the other scope', 'return /in all its services/.test(document.querySelector("dialog .effect").textContent)');
	is($sy->seat('sip', 'fe1')->{state}, 'up', 'nothing has happened yet');
	$browser->click('dialog .primary');
	$browser->wait_script('it to be said', 'return /fe1: drain/.test(document.getElementById("told").textContent)');
	$browser->wait_script('it to show', 'return document.querySelector(`tr[data-service="conferencing"]`).dataset.state === "degraded"');
	is($sy->seat('conferencing', 'fe1')->{state}, 'drain', 'and it is drained in every service');
	like($sy->log_text, qr{audit POST /v1/servers/fe1 .*who=alice}, 'by alice, says the log');
	$browser->click('.seats button.change');
	$browser->wait_script('enable is proposed', 'return document.querySelector("dialog [name=wish]:checked")?.value === "enable"');
	$browser->script('const s = document.getElementById("where"); s.value = "1"; s.dispatchEvent(new Event("input", { bubbles: true }))');
	$browser->wait_script('it to be understood', 'return /takes new clients again in all/.test(document.querySelector("dialog .effect").textContent)');
	$browser->click('dialog .primary');
	$browser->wait_script('it to be well again', 'return document.querySelector(`tr[data-service="conferencing"]`).dataset.state === "up"');
	$browser->click('tr[data-service="sip"] .open');
};

subtest 'a server dies' => sub {
	my $took;
	$browser->script(<<'JS', 'sip');
		window.red = 0;
		const row = document.querySelector(`tr[data-service="${arguments[0]}"]`);
		new MutationObserver(() => { if (row.dataset.state === 'degraded' && !window.red) window.red = Date.now(); })
			.observe(row, { attributes: true });
JS
	my $dead = time;
	$servers[0]->kill;
	$took = $browser->wait_script('the page to go red', 'return window.red') / 1000 - $dead;
	diag sprintf 'seen %.2f s after its death', $took;
	cmp_ok($took, '<', 10, sprintf 'in time (%.2f s; the aim is 2)', $took);
	is(state_of($_), 'degraded', "and in $_, too") for @names;
	like($browser->script('return document.getElementById("verdict").textContent'), qr/7 services degraded/, 'the verdict');
	show('servers', 'return document.querySelectorAll("tr[data-server]").length === 5');
	my $row = $browser->script('const row = document.querySelector(`tr[data-server="fe1"]`); return [row.dataset.state, row.textContent, '
		. '[...row.querySelectorAll(".mark .hidden")].map((each) => each.textContent)]');
	is($row->[0], 'down', 'the server is down');
	like($row->[1], qr/in all 6 services/, 'and it says where');
	is_deeply($row->[2], [ ('down') x 6 ], 'the failure is seen everywhere at once');
	$browser->screenshot("$shots/page-servers.png");
	show('events', 'return [...document.querySelectorAll(".events li")].some((li) => /server fe1 .*down/.test(li.textContent))');
	$servers[0]->again;
	show('services', 'return document.querySelectorAll("tr[data-service]").length === 7');
	$browser->wait_script('it to be well again', 'return document.querySelector(`tr[data-service="sip"]`).dataset.state === "up"');
};

subtest 'the other views' => sub {
	# Those to the server that died were reset.
	show('connections', 'const n = document.querySelectorAll(".connections tbody tr").length; return n > 3 && n < 7');
	my $sock = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $sy->port('web-internal')) or die $@;
	print $sock "hello\n";
	my $line = <$sock>;
	close $sock;
	$browser->wait_script('how they end', 'return /client-done/.test(document.querySelector(".endings").textContent)');
	$browser->wait_script('which ended', 'return [...document.querySelectorAll(".past tbody tr")].some((row) => /client closed first/.test(row.textContent) && /web-internal/.test(row.textContent))');
	$browser->type('#search', 'server went down');
	$browser->wait_script('the search by the reason', 'const rows = [...document.querySelectorAll(".past tbody tr")]; return rows.length && rows.every((row) => /fe1/.test(row.textContent) && row.querySelector(".symbol"))');
	$browser->script('document.getElementById("search").value = ""; document.getElementById("search").dispatchEvent(new Event("input"))');
	$browser->type('#search', 'no-such-client');
	$browser->wait_script('the search', 'return document.querySelectorAll(".connections tbody tr, .past tbody tr").length === 0');
	$browser->script('document.getElementById("search").value = ""; document.getElementById("search").dispatchEvent(new Event("input"))');
	axe('connections');
	show('certificates', 'return /No tls block/.test(document.querySelector("main .note[role=status]")?.textContent)');
	show('processes', 'return /worker 1/.test(document.querySelector(".processes")?.textContent)');
	ok($browser->script('return /ready/.test(document.querySelector(".processes").textContent)'), 'processes');
	show('config', 'return document.querySelectorAll(".config li").length > 20');
	like($browser->script('return document.querySelector(".config").textContent'), qr/steelyard\.conf:\d+/, 'the configuration has its places');
	axe('the configuration');
};

subtest 'a reload' => sub {
	show('services', 'return document.querySelectorAll("tr[data-service]").length === 7');
	my ($ok, $text) = $sy->reload($conf . "virtual-service added { listen 127.0.0.1:0; pool front-ends; monitor off; }\n");
	ok($ok, 'it is done') or diag $text;
	$browser->wait_script('the new service', 'return !!document.querySelector(`tr[data-service="added"]`)');
	is(scalar @{ shown() }, 8, 'it is in the list');
};

subtest 'the console dies and comes back' => sub {
	kill 'KILL', $sy->pid_of('console');
	$sy->wait_log(qr/console .* ended: killed(?s:.*)console is ready/);
	my ($ok) = $sy->reload($conf);
	ok($ok, 'another configuration');
	$browser->wait_script('the page to follow', 'return document.querySelectorAll("tr[data-service]").length === 7'
		. ' && document.getElementById("lost").hidden');
	pass('it is live again by itself');
};

# What the browser says of the death above is expected, nothing else is.
my @problems = grep { !m{/v1/(stream|live|history\S*|services\S*) .*(ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_CONNECTION_(REFUSED|RESET)|ERR_EMPTY_RESPONSE|503)|/v1/login .*401} }
	$browser->problems;
is_deeply(\@problems, [], 'no error on the console');
my @away = grep { !m{^\Q$url\E} && !m{^(chrome|chrome-untrusted|data|blob|about|devtools):} } $browser->requests;
is_deeply(\@away, [], 'no request left the console');

subtest 'how it looks' => sub {
	for (['light', 1280, 900, 0, 0], ['dark', 1280, 900, 0, 1], ['phone', 390, 844, 1, 0], ['phone-dark', 390, 844, 1, 1]) {
		my ($name, $width, $height, $mobile, $dark) = @$_;
		$browser->dark($dark);
		$browser->size($width, $height, $mobile);
		for my $view (qw(services servers connections)) {
			$browser->script('location.hash = arguments[0]; scrollTo(0, 0)', $view);
			$browser->wait_script("$view $name", 'return document.querySelectorAll("main table tbody tr").length > 0');
			my $wide = $browser->script('return document.documentElement.scrollWidth - document.documentElement.clientWidth');
			cmp_ok($wide, '<=', 0, "$view, $name: nothing sticks out to the side");
			# Contrast by WCAG 2, text against the first opaque background behind it.
			my $poor = $browser->script(<<'JS');
				const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
				const light = ([r, g, b]) => { const f = (v) => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
					return .2126 * f(r) + .7152 * f(g) + .0722 * f(b); };
				const poor = new Set();
				const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
				for (let node; (node = walk.nextNode());) {
					const on = node.parentElement, style = getComputedStyle(on);
					if (!node.textContent.trim() || !on.getClientRects().length || on.closest('.hidden, .skip, option'))
						continue;
					let back = on, colour;
					do colour = parse(getComputedStyle(back).backgroundColor);
					while ((colour.length === 4 && colour[3] === 0) && (back = back.parentElement));
					const [a, b] = [light(parse(style.color)), light(colour)];
					const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
					if (ratio < 4.5)
						poor.add(`${on.tagName} ${on.className} "${node.textContent.trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
				}
				return [...poor];
JS
			is_deeply($poor, [], "$view, $name: contrast is AA");
			axe("$view, $name");
			ok($browser->screenshot("$shots/page-$view-$name.png") > 5000, "screenshot $view, $name");
		}
	}
};
$browser->stop;
is($sy->stop, 0, 'the daemon ends well');
done_testing;
