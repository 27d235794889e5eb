"""The words of the demo's mail."""

from __future__ import annotations

PEOPLE: dict[str, tuple[str, str]] = {
    "charles": ("Charles Babbage", "charles@engine.example"),
    "mary": ("Mary Somerville", "mary@somerville.example"),
    "grace": ("Grace Hopper", "grace@analytical.example"),
    "alan": ("Alan Turing", "alan@analytical.example"),
    "joan": ("Joan Clarke", "joan@analytical.example"),
    "hedy": ("Hedy Lamarr", "hedy@hopping.example"),
    "katherine": ("Katherine Johnson", "katherine@orbit.example"),
    "build": ("Build Robot", "build@analytical.example"),
    "library": ("City Library", "desk@library.example"),
}
MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September")
SIGNATURES = {
    "charles": "\n-- \nCharles Babbage\nDorset Street, London\n",
    "grace": "\n-- \nGrace Hopper\nCompilers and nanoseconds\n",
    "katherine": "\n-- \nKatherine\nGet the girl to check the numbers.\n",
}

# (account, days ago, subject, [(who, text)…])
THREADS: list[tuple[str, float, str, list[tuple[str, str]]]] = [
    (
        "home",
        0.7,
        "Notes on the engine: a question about note G",
        [
            (
                "charles",
                "Dear Ada,\n\nin note G you number the operations from 1 to 25, but I count 24 in the diagram.  Do you take the\n"
                "initial assignment as an operation of its own?\n\nThe printer would like to know by Friday.\n",
            ),
            (
                "ada",
                "Dear Charles,\n\nthe first is the multiplication by two; it is easy to overlook because the result is\nwritten "
                "into two columns.  I have marked it in red on the proof.\n",
            ),
            ("charles", "Quite right, I see it now.  The proof goes to the printer this afternoon.\n"),
        ],
    ),
    (
        "home",
        1.8,
        "Dinner on Saturday?",
        [
            (
                "mary",
                "Ada,\n\nwould you and William come for dinner on Saturday at eight?  There will be a physicist, but I have "
                "been\npromised that he will not talk about the weather.\n",
            ),
            ("ada", "With pleasure!  Shall I bring anything?\n"),
            ("mary", "Only yourself, and the story about the flying machine.\n"),
        ],
    ),
    (
        "work",
        0.4,
        "Compiler: release on Thursday",
        [
            (
                "grace",
                "Team,\n\nthree things are left before we can release:\n\n  1. the moth in relay 70 (yes, really)\n"
                "  2. documentation of the linker\n  3. somebody has to say it out loud: it is a compiler, not a miracle\n\n"
                "I take the first.  Who takes the second?\n",
            ),
            ("ada", "I take the documentation.  A draft comes tomorrow.\n"),
            ("grace", "Wonderful.  Then Thursday it is.\n"),
        ],
    ),
    (
        "work",
        2.2,
        "Can a machine play chess?",
        [
            (
                "alan",
                "Ada,\n\nI have written down the rules on paper and played a game against Joan as if I were the machine.  "
                "It took\nhalf an hour a move, and I lost.  But it was chess.\n",
            ),
            ("ada", "Half an hour a move is not so different from my uncle.  What did it do wrong?\n"),
            ("alan", "It took a pawn that was offered.  So would your uncle, I suppose.\n"),
            ("ada", "He would.  Try to give the pieces in danger more weight?\n"),
            ("alan", "I shall.  Joan says she is ready.\n"),
        ],
    ),
    (
        "work",
        3.9,
        "Trajectory check for Tuesday",
        [
            (
                "katherine",
                "I went through the numbers twice by hand and once more because it was raining.  They agree with the "
                "machine\nto the last digit but one.\n\nI would still like to see the last digit.\n",
            ),
            ("ada", "The last digit is rounded when it is printed.  The full value is 0.0028317.\n"),
            ("katherine", "Then we agree.  Good.\n"),
        ],
    ),
    (
        "home",
        5.5,
        "The library: books to be returned",
        [
            (
                "library",
                "Dear reader,\n\nthese books are due next week:\n\n  Lacroix, Calculus\n  Euclid, Elements, book V\n\n"
                "You can renew them by answering this message.\n",
            ),
            ("ada", "Please renew both.  I am nearly through with Euclid.\n"),
            ("library", "Renewed for four weeks.\n"),
        ],
    ),
    (
        "home",
        6.4,
        "Frequency hopping",
        [
            (
                "hedy",
                "Ada,\n\nGeorge and I have the drawing for the piano rolls.  Eighty-eight frequencies, one for each key.  "
                "If one side\nlistens while the other plays, nobody can follow.\n\nDo you see a mistake?\n",
            ),
            ("ada", "Only that they must begin at the same time.  How do they agree on the first note?\n"),
            ("hedy", "That is the mistake I hoped you would not find.  I will think.\n"),
            ("hedy", "I have it: the first roll starts both.\n"),
        ],
    ),
    (
        "work",
        7.3,
        "Crossword for the break room",
        [
            ("joan", "Seven letters, “it repeats itself”.  I have L, blank, O, P …\n"),
            ("ada", "LOOPING.  Next!\n"),
            ("joan", "You are no fun.\n"),
        ],
    ),
    (
        "home",
        9.6,
        "Flying machine",
        [
            (
                "mary",
                "I found your drawings of the wings in a copy of Laplace.  Do you want them back, or may I keep them there?  "
                "They make\nan excellent bookmark.\n",
            ),
            ("ada", "Keep them!  I was twelve, and had forgotten to think of the weight.\n"),
        ],
    ),
    (
        "work",
        11.2,
        "Bernoulli numbers, tabulated",
        [
            ("alan", "For the table I would stop at B(12).  After that the columns become wider than the desk.\n"),
            ("ada", "Agreed.  The engine could go on, but the desk could not.\n"),
        ],
    ),
]

_BOX = '<table role="presentation" width="600" cellpadding="0"><tr><td style="padding:24px;font-family:sans-serif">{}</td></tr></table>'
NEWSLETTERS: list[tuple[str, str, str, str, str]] = [
    ("The Weekly Column", "hello@column.example", "This week: carries, and how to catch them", "",
     _BOX.format(
         '<div style="display:none">A preview that only machines should read, and that is longer than it needs to be.</div>'
         "<h1>The Weekly Column</h1><p>Good morning, Ada!  Here is what moved in the world of wheels.</p>"
         '<h2>Catching a carry</h2><p>When a wheel passes nine, its neighbour must turn <b>at once</b>. '
         '<a href="https://column.example/carry">Read how the new lever does it</a>.</p>'
         "<h2>Figures</h2><table><tr><th>Machine</th><th>Columns</th><th>Turns a minute</th></tr>"
         "<tr><td>Difference engine</td><td>7</td><td>44</td></tr><tr><td>Analytical engine</td><td>50</td><td>40</td></tr>"
         "<tr><td>Abacus</td><td>13</td><td>90</td></tr></table>"
         "<h2>Also</h2><ul><li>A letter about brass</li><li>Oil: too much, too little</li><li>Obituary of a gear</li></ul>"
         '<p>You get this because you asked for it. <a href="https://column.example/stop">Stop it</a></p>')),
    ("Botanic Garden", "news@garden.example", "The water lily opens tonight",
     "The water lily opens tonight at nine.  The glass house stays open until eleven.\n\nhttps://garden.example/lily\n",
     _BOX.format('<img src="https://garden.example/lily.jpg" alt="A water lily at dusk" width="552">'
                 "<h1>Tonight at nine</h1><p>The water lily opens for one night only. The glass house stays open until eleven.</p>"
                 '<p><a href="https://garden.example/lily" style="background:#060;color:#fff;padding:12px">Reserve a place</a></p>'
                 "<blockquote>“White on the first evening, pink on the second.”</blockquote>")),
    ("Royal Society", "lectures@society.example", "Lectures in spring",
     "Three lectures in spring.\n\n1. On tides\n2. On light\n3. On machines that compute\n",
     _BOX.format("<h1>Lectures in spring</h1><ol><li>On tides</li><li>On light</li><li>On machines that compute</li></ol>"
                 '<p>Programme: <a href="https://society.example/spring">society.example/spring</a></p>')),
    ("Railway", "tickets@railway.example", "Your ticket to Bath", "",
     _BOX.format("<h2>London – Bath</h2><table><tr><th>Leaves</th><th>Arrives</th><th>Class</th></tr>"
                 "<tr><td>08:15</td><td>11:40</td><td>First</td></tr><tr><td>17:30</td><td>20:55</td><td>First</td></tr></table>"
                 "<p>Please be on the platform ten minutes before. Hats may be left with the guard.</p>")),
]  # fmt: skip

_PATCH = """The carry lever did not return when two columns turned at once.

---
 lever.c | 6 +++---
 1 file changed, 3 insertions(+), 3 deletions(-)

diff --git a/lever.c b/lever.c
index 3d1f2aa..91b7c02 100644
--- a/lever.c
+++ b/lever.c
@@ -40,7 +40,7 @@ static int carry(struct column *c)
 {
-	if (c->wheel > 9)
-		return turn(c->next);
+	while (c->wheel > 9)
+		turn(c->next), c->wheel -= 10;
 	return 0;
 }
-- 
2.39
"""
LIST: list[tuple[str, str]] = [
    ("[PATCH] lever: let the carry return", _PATCH),
    ("Which oil for the long axles?", "The whale oil of last year is thick in winter.  What do you use?\n"),
    ("[RFC] Punched cards: five holes or six?", "Five holes give 32 signs, six give 64.  We have 40.  I would take six and "
     "leave room for\nlower case, which the young people seem to like.\n"),
    ("Meeting notes", "Present: seven.\n\n* The mill turns.\n* The store holds 50 numbers.\n* Lunch was good.\n"),
]  # fmt: skip
LIST_REPLIES = [
    "Looks right to me.  I turned it two hundred times without a slip.\n",
    "Could you add a line to the documentation as well?\n",
    "I disagree, but mildly.\n",
    "We had the same thing in the spring; a drop of oil helped.\n",
]
INVITES = [("Review of the linker", "Room 70, second floor"), ("Tea with the committee", "The garden, if it is dry")]
TONGUES: list[tuple[str, str, str, str, str]] = [
    ("Jürgen Groß", "juergen@gross.example", "iso-8859-1", "Grüße aus Göttingen", "Liebe Ada,\n\ndie Straßen sind nass, "
     "die Öfen geheizt, und Gauß lässt grüßen.\n\nJürgen\n"),
    ("Радия Перельман", "radia@tree.example", "koi8-r", "Остовное дерево", "Ада,\n\nя вижу, что нигде не увижу графа "
     "прекраснее дерева.\n\nРадия\n"),
    ("湯川 秀樹", "yukawa@meson.example", "iso-2022-jp", "中間子について", "エイダ様\n\n新しい粒子の質量を計算しました。\n"
     "ご意見をお聞かせください。\n\n湯川\n"),
    ("林 芳子", "lin@lotus.example", "gb2312", "关于算法的问题", "亲爱的艾达：\n\n您的注释非常清楚。我有一个小问题，见附页。\n\n林芳子\n"),
    ("渡辺 花", "hana@garden.example", "shift_jis", "桜の写真", "こんにちは。\n\n桜が咲きました。写真は明日送ります。\n"),
    ("Émilie du Châtelet", "emilie@cirey.example", "windows-1252", "L’énergie, encore", "Chère Ada,\n\nc’est bien le carré de "
     "la vitesse : j’ai laissé tomber les billes moi-même dans l’argile.\n\nÉmilie — Cirey, 12 €\n"),
    ("Σοφία", "sofia@agora.example", "utf-8", "Καλημέρα 🌞", "Καλημέρα!\n\nΈρχεσαι το καλοκαίρι; 🏖️\n\nΣοφία\n"),
    ("مريم", "maryam@surface.example", "utf-8", "عن السطوح", "عزيزتي آدا،\n\nأرسل لك الفصل الثاني.\n\nمريم\n"),
    ("Łucja Żółć", "lucja@torun.example", "iso-8859-2", "Zażółć gęślą jaźń", "Droga Ado,\n\nwszystkie litery dotarły?\n\nŁucja\n"),
]  # fmt: skip
SPAM = [
    ("You have won!!!", "Dear winner,\n\nyour prize of one million awaits.  Send your details.\n"),
    ("Cheap brass gears", "Gears of finest brass, nearly unused.\n"),
    ("Make money with punched cards", "Work from home.  No experience needed.\n"),
]
DRAFTS = [
    ("On the proof", "Dear Mary,\n\nI have read the second chapter and\n"),
    ("Travel to Turin", "Dear Mary,\n\nshall we take the coach or the\n"),
]
SMALL: list[tuple[str, str]] = [
    ("Receipt for twelve brass wheels", "Received with thanks: twelve brass wheels, polished.\n"),
    ("Thank you", "Thank you for the evening.  The soup was excellent, the theorem better.\n"),
    ("Minutes", "1. Minutes of the last meeting were read.\n2. Nobody remembered them.\n3. They were approved.\n"),
    ("Train times", "The 8:15 now leaves at 8:20, and arrives as before.\n"),
    ("A correction", "On page 31, for “plus” read “minus”.  I am sorry; it explains much.\n"),
    ("Your order of paper", "Five reams, ruled.  They will be brought on Monday.\n"),
    ("Re: Piano lessons", "Thursday at four suits us.  Please bring the Bach.\n"),
    ("Photographs", "The plates came out well, but for the dog, who moved.\n"),
    ("Hotel in Turin", "Two rooms with a view of the river are reserved for you.\n"),
    ("Question about the index", "Should “engine, difference” stand before “engine, analytical”?\n"),
    ("Snow", "All coaches are late today.  Stay at home and compute.\n"),
]
ARRIVING: list[tuple[str, str, str, str]] = [
    ("work", "build", "Nightly build passed", "All 212 steps passed.  Column 7 carries again.\n"),
    (
        "home",
        "mary",
        "One more guest",
        "The physicist brings his sister, who plays the violin.  Eight o’clock as before.\n",
    ),
    ("work", "grace", "Found it", "The moth is taped into the log book.  First actual case.\n"),
    ("home", "charles", "Proof is printed", "The first copies smell of ink and victory.\n"),
    ("work", "alan", "A draw!", "The paper machine has drawn against Joan.  She says she was tired.\n"),
    ("home", "library", "A book is ready for you", "“Mécanique céleste”, volume IV, waits at the desk until Friday.\n"),
    ("work", "katherine", "The last digit", "I have computed it once more.  It is a 7.  You may launch.\n"),
    ("home", "hedy", "It hops", "Both pianos began together and nobody could follow.  Patent tomorrow.\n"),
    ("work", "joan", "Four letters", "“It holds many numbers”.  I say ARRAY does not fit.\n"),
    ("home", "mary", "The wings", "They make a better bookmark every day.\n"),
    ("work", "build", "Disk almost full", "The store holds 48 of 50 numbers.  Please forget something.\n"),
    ("home", "charles", "An idea, at three in the morning", "What if the cards could punch other cards?\n"),
    (
        "work",
        "grace",
        "How long is a nanosecond?",
        "Eleven and three quarter inches.  I have cut you a piece of wire.\n",
    ),
]
